// The Generation tab's canvas: pictures that sharpen step by step, and what can be done with the finished ones.
//
// value: {busy, done: 0..1, line} and, when there is something new to show, view with one of
//   "grid"     grid: {src, alt, size}, and more that trail.js names
//   "walk"     walk: {frames: [data URIs], a, b, alt}
//   "compare"  models: [{key, name, about, seconds, grid}]
// and, when it is finished, files: [{name, kind, href}]. Without a view the canvas keeps what it shows.
Studio.canvas = (element, props, watch, tell) => {
  const { t, h, put } = Studio;
  const root = element.querySelector(".canvas");
  const line = h("p", { id: "generation_status", class: "line", role: "status" });
  const cancel = h("button", { id: "cancel", type: "button", class: "quiet", title: t("canvas.cancel.why") }, t("canvas.cancel"));
  const progress = h("progress", { max: 1, value: 0, "aria-label": t("canvas.progress") });
  const words = h("p", { class: "empty" });
  const empty = h("div", { class: "canvas-empty" }, h("div", { class: "canvas-blanks", "aria-hidden": "true" }, ...[...Array(16)].map(() => h("i"))), words);
  const stage = h("div", { class: "canvas-stage" });
  const files = Studio.saveLinks();
  root.append(h("div", { class: "canvas-head" }, line, cancel), progress, empty, stage, files.element);

  const views = { grid: Studio.gridView(), walk: Studio.walkView(), compare: Studio.compareView() };
  let busy = false;
  let cancelled = false; // here, and the studio has not answered yet
  let last = null; // what was finished, as text

  const show = (value) => {
    if (!views[value.view]) return;
    const view = views[value.view];
    if (stage.firstChild !== view.element) stage.replaceChildren(view.element);
    view.show(value);
    files.show(value.files || []);
  };

  const draw = () => {
    const value = props.value || {};
    const begins = value.busy && !value.done;
    if (cancelled && value.busy && !begins) return; // a picture that was on its way
    // Gradio tells the end of a stream twice, on a busy machine so late that a hand is on the slider by then.
    const finished = value.busy ? null : JSON.stringify(value);
    if (finished && finished === last) return;
    last = finished;
    cancelled = false;
    put(line, value.line || "");
    // Numbers that change ten times a second are not read aloud; the line that ends it is.
    line.setAttribute("aria-busy", Boolean(value.busy));
    setBusy(value.busy);
    if (value.done > 0) progress.value = value.done;
    else progress.removeAttribute("value");
    empty.hidden = empty.hidden || Boolean(value.view);
    show(value);
  };
  const setBusy = (now) => {
    if (now && !busy) {
      // In a narrow window the canvas lies below the form: bring it, and Cancel, into sight.
      const top = root.getBoundingClientRect().top;
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (top < 0 || top > innerHeight - 200) root.closest(".card").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
    }
    busy = Boolean(now);
    root.dataset.busy = busy;
  };
  watch("value", draw);

  // Cancelling is told at once, whatever the studio is busy with; its own line follows.
  cancel.addEventListener("click", () => {
    cancelled = true;
    setBusy(false);
    line.setAttribute("aria-busy", false);
    put(line, t("canvas.cancelled"));
    tell.cancel();
  });

  let none = false;
  Studio.models.watch((models) => {
    if (none && models.length && !stage.firstChild) put(line, (last = "")); // whoever asked was told that there is no model yet
    none = !models.length;
    put(words, t(none ? "canvas.empty" : "canvas.ready"));
  });
  draw();
};

// An image whose pixels are squares: enlarged by a whole number, as far as the place allows. Pictures larger than their
// place are made smaller the usual, smooth way. `spare`: the height in CSS pixels that other things want.
Studio.pixelImage = (spare = 300) => {
  const image = Studio.h("img", { class: "canvas-picture", alt: "" });
  const fit = () => {
    const place = image.parentElement;
    if (!place || !image.naturalWidth || !place.clientWidth) return;
    const room = Math.min(place.clientWidth, Math.max(320, innerHeight - spare)) * devicePixelRatio;
    const times = Math.floor(room / image.naturalWidth);
    image.classList.toggle("pixels", times >= 1);
    image.style.width = times >= 1 ? `${(times * image.naturalWidth) / devicePixelRatio}px` : `${place.clientWidth}px`;
  };
  image.addEventListener("load", fit);
  new ResizeObserver(fit).observe(image);
  addEventListener("resize", fit);
  return image;
};
