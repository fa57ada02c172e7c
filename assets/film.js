// The film strip: one slider over all quick samples of the run. It follows the newest until someone looks back.
Studio.film = (element) => {
  const { t, h, put } = Studio;
  const root = element.querySelector(".film");
  const picture = h("img", { class: "film-picture pixels", alt: "" });
  const label = h("p", { class: "film-label", role: "status" });
  const place = h("span", { class: "film-place" });
  const slider = h("input", { id: "film_slider", type: "range", min: 0, max: 0, value: 0, "aria-label": t("film.slider"), title: t("film.why") });
  const follow = h("button", { type: "button", class: "quiet", title: t("film.follow.why") }, t("film.follow"));
  const ticks = h("div", { class: "film-ticks" });
  const empty = h("p", { class: "empty" }, t("film.empty"));
  const stage = h("div", { class: "film-stage" }, picture, h("div", { class: "film-row" }, slider, follow), h("div", { class: "film-row" }, label, place), ticks, h("p", { class: "hint" }, t("film.why")));
  root.append(h("h3", {}, t("film.title")), empty, stage);

  let run = null;
  let frames = [];
  let chosen = null; // the url of the frame someone looked back at; null = follow the newest

  const words = (frame) =>
    [
      frame.step !== null ? t("film.label.step", { step: Studio.number(frame.step) }) : null,
      frame.epoch !== null ? t("film.label.epoch", { epoch: Studio.number(frame.epoch) }) : null,
      frame.seconds !== null ? t("film.label.time", { time: Studio.duration(frame.seconds) }) : null,
      frame.asked ? t("film.label.asked") : null,
    ]
      .filter(Boolean)
      .join(" · ");

  const show = () => {
    empty.hidden = frames.length > 0;
    stage.hidden = frames.length === 0;
    if (!frames.length) return;
    const found = frames.findIndex((frame) => frame.url === chosen);
    const index = found < 0 ? frames.length - 1 : found;
    const frame = frames[index];
    slider.max = frames.length - 1;
    slider.value = index;
    slider.setAttribute("aria-valuetext", words(frame));
    if (picture.getAttribute("src") !== frame.url) picture.src = frame.url;
    picture.alt = t("film.alt", { label: words(frame) });
    put(label, words(frame));
    put(place, t("film.place", { index: index + 1, count: frames.length }));
    follow.setAttribute("aria-pressed", chosen === null);
    [...ticks.children].forEach((tick) => tick.setAttribute("aria-current", Number(tick.dataset.at) === index));
  };

  const pick = (index) => {
    chosen = index >= frames.length - 1 ? null : frames[index].url;
    show();
  };
  slider.addEventListener("input", () => pick(Number(slider.value)));
  follow.addEventListener("click", () => pick(frames.length - 1));

  // A row of small frames to jump to: at most 12, evenly spread, so that a long run stays one row.
  let drawnTicks = "";
  const drawTicks = () => {
    const count = Math.min(12, frames.length);
    const picks = [...Array(count).keys()].map((at) => Math.round((at * (frames.length - 1)) / Math.max(1, count - 1)));
    const urls = picks.map((at) => frames[at].url).join();
    if (urls === drawnTicks) return;
    drawnTicks = urls;
    ticks.replaceChildren(
      ...picks.map((at) => h("button", { type: "button", class: "film-tick", "data-at": at, title: words(frames[at]), "aria-label": words(frames[at]), onclick: () => pick(at) }, h("img", { class: "pixels", src: frames[at].url, alt: "", loading: "lazy" }))),
    );
  };

  Studio.run.watch((details) => {
    if (!details || details.name !== run) chosen = null;
    run = details ? details.name : null;
    frames = details ? details.quick : [];
    drawTicks();
    show();
  });
};

// The larger grids that are saved with every checkpoint.
Studio.epochs = (element) => {
  const { t, h } = Studio;
  const root = element.querySelector(".epochs");
  const row = h("div", { class: "epochs-row" });
  root.append(h("h3", {}, t("epochs.title")), h("p", { class: "hint" }, t("epochs.why")), row);
  let drawn = "";
  Studio.run.watch((details) => {
    const grids = details ? details.grids : [];
    root.hidden = grids.length === 0;
    const urls = grids.map((grid) => grid.url).join();
    if (urls === drawn) return;
    drawn = urls;
    const card = (grid, words) => h("a", { href: grid.url, target: "_blank", rel: "noopener" }, h("img", { class: "pixels", src: grid.url, alt: t("film.alt", { label: words }), loading: "lazy" }), words);
    row.replaceChildren(...grids.map((grid) => card(grid, t("epochs.label", { epoch: grid.epoch }))));
  });
};
