// The walk between two seeds: one slider over frames that are all here, so that scrubbing asks the studio nothing.
Studio.walkView = (id = "scrub_slider") => {
  const { t, h, put } = Studio;
  const image = Studio.pixelImage(480);
  const slider = h("input", { id, type: "range", min: 0, value: 0, step: 1, "aria-label": t("scrub.slider") });
  const play = h("button", { type: "button", class: "quiet", "aria-pressed": false, title: t("scrub.play.why") }, t("scrub.play"));
  const place = h("span", { class: "scrub-place" });
  const from = h("span");
  const to = h("span");
  const ticks = h("div", { class: "film-ticks scrub-ticks" });
  const element = h(
    "div",
    { class: "canvas-one scrub" },
    image,
    h("div", { class: "scrub-row" }, from, slider, to),
    h("div", { class: "scrub-row" }, play, place),
    ticks,
  );
  let frames = [];
  let timer = null;
  let way = 1;

  const at = (index) => {
    slider.value = index;
    image.src = frames[index];
    const words = t("scrub.place", { index: index + 1, count: frames.length });
    slider.setAttribute("aria-valuetext", words);
    put(place, words);
    [...ticks.children].forEach((tick, i) => tick.setAttribute("aria-current", i === index));
  };
  const halt = () => {
    clearInterval(timer);
    timer = null;
    play.setAttribute("aria-pressed", false);
  };
  const walk = () => {
    // Gone from the page, or out of sight on another tab: rest.
    if (!Studio.shown(element)) return halt();
    const index = Number(slider.value);
    if (index + way < 0 || index + way >= frames.length) way = -way;
    at(index + way);
  };
  slider.addEventListener("input", () => {
    halt();
    at(Number(slider.value));
  });
  play.addEventListener("click", () => {
    if (timer) return halt();
    // Who asked for less motion gets single pictures instead of a film.
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    timer = setInterval(walk, calm ? 1000 : Math.min(400, Math.max(40, 2400 / frames.length)));
    play.setAttribute("aria-pressed", true);
  });

  return {
    element,
    show: ({ walk: { frames: fresh, a, b, alt, named } }) => {
      halt();
      frames = fresh;
      slider.max = frames.length - 1;
      image.alt = alt;
      put(from, named ? a : t("scrub.end", { seed: a }));
      put(to, named ? b : t("scrub.end", { seed: b }));
      const tick = (src, i) => {
        const words = t("scrub.place", { index: i + 1, count: frames.length });
        return h("button", { type: "button", class: "film-tick", title: words, "aria-label": words, onclick: () => (halt(), at(i)) }, Studio.squares(h("img", { src, alt: "" })));
      };
      ticks.replaceChildren(...frames.map(tick));
      at(0);
    },
  };
};
