// Models side by side at the same height: their grids have the same shape, whatever the size of their pictures.
Studio.compareView = () => {
  const { t, h, put } = Studio;
  const row = h("div", { class: "canvas-models" });
  const wipe = Studio.wipe();
  const plot = h("div", { class: "chart-plot", role: "img", "aria-label": t("models.spectrum.name") });
  const chart = h("div", { class: "models-chart", hidden: true }, h("h3", {}, t("models.spectrum")), h("p", { class: "hint" }, t("models.spectrum.why")), plot);
  const element = h("div", { class: "models-view" }, row, wipe.element, chart);
  const paint = Studio.painter(chart, plot);
  let columns = [];
  const column = () => {
    const image = Studio.squares(h("img", { class: "canvas-picture", alt: "" }));
    const name = h("span", { class: "canvas-name" });
    const about = h("span", { class: "hint" });
    const seconds = h("span", { class: "canvas-seconds" });
    return { image, name, about, seconds, figure: h("figure", {}, image, h("figcaption", {}, name, about, seconds)) };
  };
  return {
    element,
    show: ({ models, figure }) => {
      if (columns.length !== models.length) {
        columns = models.map(column);
        row.replaceChildren(...columns.map((each) => each.figure));
        row.style.setProperty("--models", models.length);
      }
      models.forEach((model, i) => {
        const { image, name, about, seconds } = columns[i];
        put(name, model.name);
        put(about, model.about);
        put(seconds, model.seconds || t("canvas.soon"));
        if (!model.grid) return image.removeAttribute("src");
        image.src = model.grid.src;
        image.alt = `${model.name}: ${model.grid.alt}`;
      });
      wipe.show(figure ? models : []);
      chart.hidden = !figure;
      if (figure) paint(figure).catch(console.debug);
    },
  };
};

// Two models' grids one over the other: left of the line the one, right of it the other.
Studio.wipe = () => {
  const { t, h } = Studio;
  const under = Studio.squares(h("img", { class: "canvas-picture", alt: "" }));
  const over = Studio.squares(h("img", { class: "canvas-picture wipe-over", alt: "" }));
  const slider = h("input", { id: "wipe", type: "range", min: 0, max: 100, value: 50, step: 1, "aria-label": t("models.wipe") });
  const pick = (id) => h("select", { id, "aria-label": t("models." + id) });
  const [left, right] = [pick("wipe_left"), pick("wipe_right")];
  const stage = h("div", { class: "wipe-stage" }, under, over, h("i", { class: "wipe-line" }));
  const element = h("div", { class: "wipe", hidden: true }, h("h3", {}, t("models.wipe.title")), h("div", { class: "wipe-names" }, left, right), stage, slider);
  let models = [];
  const draw = () => {
    const [a, b] = [left, right].map((choice) => models[choice.value]);
    if (!a || !b) return;
    over.src = a.grid.src;
    under.src = b.grid.src;
    over.alt = `${a.name}: ${a.grid.alt}`;
    under.alt = `${b.name}: ${b.grid.alt}`;
    stage.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", t("models.wipe.at", { percent: slider.value, name: a.name }));
  };
  for (const control of [slider, left, right]) control.addEventListener("input", draw);
  stage.addEventListener("pointermove", (event) => {
    if (!event.buttons && event.pointerType !== "mouse") return;
    const box = stage.getBoundingClientRect();
    slider.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    draw();
  });
  return {
    element,
    show: (fresh) => {
      element.hidden = fresh.length < 2;
      if (fresh.length < 2) return;
      models = fresh;
      [left, right].forEach((choice, i) => {
        choice.replaceChildren(...models.map((model, k) => h("option", { value: k, selected: k === i }, `${model.name}, ${model.about}`)));
      });
      draw();
    },
  };
};
