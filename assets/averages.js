// The same seeds under shorter and longer averages of the weights: one slider over grids that are all here.
Studio.rooms.averages = () => {
  const { t, h, put } = Studio;
  const bench = Studio.bench("averages");
  const files = Studio.saveLinks();
  const seed = h("input", { id: "averages_seed", type: "number", min: 0, step: 1, value: 0 });
  const samples = h("input", { id: "averages_samples", type: "number", min: 1, max: 16, step: 1, value: 9 });
  const image = Studio.pixelImage(460);
  const slider = h("input", { id: "averages_slider", type: "range", min: 0, max: 0, value: 0, step: 1, "aria-label": t("averages.slider") });
  const place = h("span", { class: "scrub-place" });
  const stage = h("div", { class: "canvas-one", hidden: true }, image, h("div", { class: "scrub-row" }, slider, place));
  let averages = [];
  const at = (index) => {
    const average = averages[index];
    if (!average) return;
    const percent = Number((100 * average.length).toPrecision(2));
    const words = t("averages.place", { percent });
    slider.value = index;
    slider.setAttribute("aria-valuetext", words);
    put(place, words);
    image.src = average.src;
    image.alt = t("averages.alt", { percent });
  };
  slider.addEventListener("input", () => at(Number(slider.value)));
  const go = h("button", { id: "averages_go", type: "button", class: "go" }, t("averages.go"));
  go.addEventListener("click", () => {
    averages = [];
    files.show([]);
    bench.ask("averages", { seed: Studio.numberIn(seed), samples: Studio.numberIn(samples) }, (told) => {
      (told.averages || []).forEach((average) => {
        const known = averages.findIndex((each) => each.length === average.length);
        if (known < 0) averages.push(average);
        else averages[known] = average;
      });
      if (told.averages?.length) {
        // While they are drawn, the newest is shown; afterwards whoever drags decides.
        slider.max = averages.length - 1;
        stage.hidden = false;
        at(averages.length - 1);
      }
      if (told.files) files.show(told.files);
    });
  });
  const element = h(
    "div",
    {},
    h("p", { class: "hint" }, t("mode.averages.why")),
    h("div", { class: "room-form" }, h("label", { class: "field" }, t("generation.seed"), seed), h("label", { class: "field" }, t("generation.samples"), samples), go),
    bench.element,
    stage,
    files.element,
  );
  const recall = (settings) => {
    seed.value = settings.seed;
    samples.value = settings.samples;
  };
  return { element, recall };
};
