// A grid of pictures; once it is finished, every stored step of its making lies under one slider, and each picture can be chosen.
//
// grid: {src, alt}, and when it is finished {trail: its name, seeds, key, count, columns, side, gap}. The steps are fetched once, right
// after the pictures; from then on scrubbing asks the studio nothing.
Studio.gridView = () => {
  const { t, h, put } = Studio;
  const image = Studio.pixelImage(380);
  const copies = Studio.copies();
  const cells = Studio.cells(image, (index) => {
    cells.mark(index);
    copies.choose(image, grid, index);
  });
  const whole = h("div", { class: "grid-whole" }, image, cells.element);
  const stage = h("div", { class: "grid-stage" }, whole);

  const half = (words) => {
    const picture = Studio.pixelImage(420);
    return { picture, figure: h("figure", { class: "trail-half" }, picture, h("figcaption", { class: "hint" }, t(words))) };
  };
  const [noisy, belief] = [half("trail.noisy"), half("trail.belief")];
  const pair = h("div", { class: "trail-pair" }, noisy.figure, belief.figure);
  const slider = h("input", { id: "trail_slider", type: "range", min: 0, max: 0, value: 0, step: 1, "aria-label": t("trail.slider"), title: t("trail.why") });
  const place = h("span", { class: "scrub-place" });
  const row = h("div", { class: "trail", hidden: true }, h("div", { class: "scrub-row" }, h("span", {}, t("trail.noise")), slider, h("span", {}, t("trail.end"))), h("div", { class: "scrub-row" }, place));

  let grid = null;
  let trail = null;
  const at = (index) => {
    const frame = trail.frames[index];
    const words = frame ? t("trail.place", { step: frame.step, steps: trail.steps, level: Studio.number(frame.level) }) : t("trail.finished", { steps: trail.steps });
    slider.value = index;
    slider.setAttribute("aria-valuetext", words);
    put(place, words);
    if (!frame) return rest();
    // As high as the large grid was: nothing below may jump away from under the pointer.
    if (whole.isConnected) stage.style.minHeight = `${whole.offsetHeight}px`;
    noisy.picture.src = frame.noisy;
    noisy.picture.alt = t("trail.noisy.alt", { place: words });
    belief.picture.src = frame.belief;
    belief.picture.alt = t("trail.belief.alt", { place: words });
    if (!pair.isConnected) stage.replaceChildren(pair);
  };
  const rest = () => {
    if (!whole.isConnected) stage.replaceChildren(whole);
    stage.style.minHeight = "";
  };
  slider.addEventListener("input", () => at(Number(slider.value)));

  const fetchTrail = async (name) => {
    const fresh = await Studio.get("/studio/trail/" + name).catch(() => null); // others may have made so much since that it is gone
    if (grid?.trail !== name || !fresh) return;
    trail = fresh;
    slider.max = trail.frames.length;
    at(trail.frames.length);
    row.hidden = false;
  };
  return {
    element: h("div", { class: "canvas-one" }, stage, row, copies.element),
    show: ({ grid: fresh }) => {
      grid = fresh;
      trail = null;
      row.hidden = true;
      rest();
      copies.leave();
      image.src = fresh.src;
      image.alt = fresh.alt;
      cells.show(fresh.seeds ? fresh : null);
      if (fresh.trail) fetchTrail(fresh.trail);
    },
  };
};
