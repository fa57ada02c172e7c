// Is it a copy? One chosen picture of a grid, large, and the training pictures that are nearest to it.
Studio.copies = () => {
  const { t, h, put } = Studio;
  const bench = Studio.bench("copies");
  const sample = h("canvas", { class: "copies-sample pixels", role: "img" });
  const name = h("h3");
  const ask = h("button", { id: "copies_ask", type: "button", class: "quiet" }, t("copies.ask"));
  const close = h("button", { type: "button", class: "quiet" }, t("copies.leave"));
  const nearest = h("div", { class: "copies-nearest" });
  const element = h(
    "section",
    { class: "copies", hidden: true, "aria-label": t("copies.name") },
    sample,
    h("div", { class: "copies-words" }, h("div", { class: "copies-head" }, name, ask, close), bench.element, nearest),
  );
  let chosen = null;
  let says = "";

  const leave = () => {
    if (chosen) bench.drop();
    chosen = null;
    element.hidden = true;
  };
  const choose = (image, grid, index) => {
    bench.drop();
    chosen = { key: grid.key, index };
    const { columns, side, gap, seeds } = grid;
    const [x, y] = [index % columns, Math.floor(index / columns)].map((place) => gap + place * (side + gap));
    sample.width = sample.height = side;
    sample.getContext("2d").drawImage(image, x, y, side, side, 0, 0, side, side);
    sample.setAttribute("aria-label", t("copies.sample", { seed: seeds[index] }));
    put(name, t("copies.sample", { seed: seeds[index] }));
    ask.disabled = !grid.key;
    ask.title = grid.key ? t("copies.why") : t("copies.lost");
    bench.say(grid.key ? t("copies.why") : t("copies.lost"));
    nearest.replaceChildren();
    element.hidden = false;
    element.scrollIntoView({ block: "nearest" });
  };
  ask.addEventListener("click", () =>
    bench.ask("copies", chosen, (told) => {
      if (told.says) says = told.says;
      if (!told.busy && !told.error && !told.cancelled) bench.say(says);
      if (told.nearest) nearest.replaceChildren(...told.nearest.map(({ src, says }) => h("figure", {}, h("img", { class: "pixels", src, alt: says }), h("figcaption", { class: "hint" }, says))));
    }),
  );
  close.addEventListener("click", leave);
  return { element, choose, leave };
};
