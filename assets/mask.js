// A mask painted over a picture, in the model's own pixels: with the pointer, or a part chosen by name.
Studio.mask = () => {
  const { t, h, put } = Studio;
  const picture = h("img", { alt: "" });
  const surface = h("canvas", { class: "pixels", width: 32, height: 32 });
  const stage = h("div", { id: "mask_stage", class: "mask-stage", role: "img", "aria-label": t("own.mask") }, picture, surface);
  const brush = h("input", { id: "mask_brush", type: "range", min: 1, max: 16, value: 5, step: 1 });
  const part = h("select", { id: "mask_part", "aria-label": t("own.part") }, ...["none", "left", "right", "top", "bottom", "middle"].map((name) => h("option", { value: name }, t("own.part." + name))));
  const clear = h("button", { type: "button", class: "quiet small" }, t("own.clear"));
  const covered = h("span", { class: "hint", role: "status" });
  const element = h("div", { class: "mask" }, stage, h("div", { class: "room-form" }, h("label", { class: "tick" }, t("own.brush"), brush), part, clear, covered));
  let side = 32;
  let cells = new Uint8Array(side * side);

  const draw = () => {
    const context = surface.getContext("2d");
    const image = context.createImageData(side, side);
    const [r, g, b] = [15, 108, 123];
    cells.forEach((on, i) => image.data.set([r, g, b, on ? 255 : 0], 4 * i));
    context.putImageData(image, 0, 0);
    put(covered, t("own.covered", { percent: Math.round((100 * cells.reduce((sum, on) => sum + on, 0)) / cells.length) }));
  };
  const dab = (event) => {
    const box = surface.getBoundingClientRect();
    const [x, y] = [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
    const radius = (Number(brush.value) / 32) * side * 0.5;
    cells.forEach((_, i) => {
      if (Math.hypot((i % side) + 0.5 - x, Math.floor(i / side) + 0.5 - y) <= Math.max(0.71, radius)) cells[i] = 1;
    });
    draw();
  };
  stage.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    dab(event);
  });
  stage.addEventListener("pointermove", (event) => event.buttons && dab(event));
  const PARTS = {
    left: (x) => x < 0.5,
    right: (x) => x >= 0.5,
    top: (x, y) => y < 0.5,
    bottom: (x, y) => y >= 0.5,
    middle: (x, y) => Math.abs(x - 0.5) < 0.25 && Math.abs(y - 0.5) < 0.25,
  };
  part.addEventListener("change", () => {
    const inside = PARTS[part.value];
    if (inside) cells = cells.map((_, i) => (inside(((i % side) + 0.5) / side, (Math.floor(i / side) + 0.5) / side) ? 1 : 0));
    draw();
  });
  clear.addEventListener("click", () => {
    cells.fill(0);
    part.value = "none";
    draw();
  });
  return {
    element,
    over: (src) => (picture.src = src),
    // What was painted is kept when the model's size stays.
    resize: (pixels) => {
      if (pixels === side) return;
      side = surface.width = surface.height = pixels;
      cells = new Uint8Array(side * side);
      part.value = "none";
      draw();
    },
    text: () => [...cells].join(""),
    // One that was painted before: "0" or "1" a pixel, row by row.
    set: (text) => {
      side = surface.width = surface.height = Math.sqrt(text.length);
      cells = Uint8Array.from(text, Number);
      part.value = "none";
      draw();
    },
  };
};
