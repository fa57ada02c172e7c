// What can be made, as a row of choices above the canvas; and what all explorers share: the settings of the form beside them,
// and a bench that asks the studio, tells how far it is, and takes back what was asked.
//
// An explorer is a room: Studio.rooms.NAME = () => ({ element, enter(), recall(values) }), in a file of its own; `enter` is called
// whenever it is opened, `recall` with the settings of an older picture. The choice lives in the page's address (#mode=pad), so a reload shows the same.
Studio.rooms = {};
Studio.MODES = ["grid", "walk", "pad", "own", "steps", "models", "averages", "history"];
Studio.ON_CANVAS = ["grid", "walk", "models"]; // made by the form's own buttons; canvas.js shows it

// The form's model, steps, sampler and so on, as they are now.
Studio.how = {
  values: {},
  listeners: [],
  set: (values) => {
    Studio.how.values = values;
    Studio.how.listeners.forEach((listener) => listener(values));
  },
  watch: (listener) => Studio.how.listeners.push(listener),
};

// The models there are: [key, size, step] each.
Studio.models = {
  list: null,
  listeners: [],
  set: (list) => {
    Studio.models.list = list;
    Studio.models.listeners.forEach((listener) => listener(list));
  },
  watch: (listener) => {
    Studio.models.listeners.push(listener);
    if (Studio.models.list) listener(Studio.models.list);
  },
};

// `refresh` tells the form that other models are there than before.
Studio.modes = (element, refresh) => {
  const { t, h, place } = Studio;
  const root = element.querySelector(".modes");
  const choices = Studio.MODES.filter((mode) => Studio.ON_CANVAS.includes(mode) || Studio.rooms[mode]);
  const button = (mode) => h("button", { type: "button", class: "mode", "data-mode": mode, title: t(`mode.${mode}.why`), onclick: () => place.set("mode", mode) }, t(`mode.${mode}`));
  const buttons = choices.map(button);
  root.append(...buttons);
  // One line under the choices, for what concerns the whole tab; the next choice takes it away.
  const notice = h("p", { id: "notice", class: "line notice", role: "status" });
  root.after(notice);
  // `key`: of the kept picture that it is about; `file`: a picture of ours that is not kept, and could be.
  Studio.notice = (line, key, file) => {
    const button = (words, act, why) => h("button", { type: "button", class: "quiet", title: why, onclick: act }, words);
    const open = key && button(t("recall.open"), () => Studio.showMade(key));
    const keep = !key && file && button(t("recall.keep"), () => Studio.keepMade(file), t("recall.keep.why"));
    notice.replaceChildren(...[line, open, keep].filter(Boolean));
    if (line) notice.scrollIntoView({ block: "nearest" });
  };
  const draw = () => {
    const mode = choices.includes(place.get("mode")) ? place.get("mode") : "grid";
    buttons.forEach((each) => each.setAttribute("aria-pressed", each.dataset.mode === mode));
    const view = document.getElementById("generation_view");
    if (view) view.dataset.mode = mode;
    Studio.openRoom?.(mode);
  };
  place.watch("mode", () => {
    Studio.notice("");
    draw();
  });
  addEventListener("hashchange", draw);
  Studio.drawModes = draw;
  draw();
  Studio.poll(root, 3000, async () => {
    const { models } = await Studio.get("/studio/models");
    // Two runs that train change places all the time: that is no news. Before the first answer there is no list.
    const content = (list) => list && JSON.stringify(list.map((model) => JSON.stringify(model)).sort());
    if (content(models) === content(Studio.models.list)) return;
    Studio.models.set(models);
    refresh();
  });
};

// The place where the explorers that are no canvas show themselves; each is built when it is first opened. Before there is a
// model, all but the history say how to get one.
Studio.room = (element) => {
  const { t, h } = Studio;
  const root = element.querySelector(".room");
  const built = {};
  const hasModels = () => Studio.models.list?.length > 0;
  let had = hasModels();
  Studio.models.watch(() => {
    const has = hasModels();
    if (has !== had || !root.firstChild) Studio.drawModes?.();
    had = has;
  });
  // Puts the settings of an older picture into the room that made it; pages/recall.py says which.
  Studio.fillRoom = (mode, values) => {
    if (!values || !Studio.rooms[mode]) return;
    built[mode] ||= Studio.rooms[mode]();
    built[mode].recall?.(values);
  };
  Studio.openRoom = (mode) => {
    const make = Studio.rooms[mode];
    root.hidden = !make;
    if (!make) return;
    if (mode !== "history" && !hasModels()) {
      const blanks = h("div", { class: "canvas-blanks", "aria-hidden": "true" }, ...[...Array(16)].map(() => h("i")));
      const words = h("p", { class: "empty" }, `${t(`mode.${mode}.why`)} ${t("room.empty")}`);
      return root.replaceChildren(...(Studio.models.list ? [h("div", { class: "canvas-empty" }, blanks, words)] : []));
    }
    built[mode] ||= make();
    if (root.firstChild !== built[mode].element) root.replaceChildren(built[mode].element);
    built[mode].enter?.();
  };
  Studio.drawModes?.();
};

// What a number field says; null when it is empty, which the studio answers with a sentence.
Studio.numberIn = (input) => (input.value === "" ? null : Number(input.value));

// Pixels as squares where a picture is enlarged; where it is made smaller, the usual smooth way.
Studio.squares = (image) => {
  const fit = () => image.clientWidth && image.classList.toggle("pixels", image.naturalWidth <= image.clientWidth * devicePixelRatio);
  image.addEventListener("load", fit);
  new ResizeObserver(fit).observe(image);
  return image;
};

// One line that tells, a progress bar, and Cancel. `ask` sends a question with the form's settings; `show` hears what comes.
Studio.bench = (part) => {
  const { t, h, put } = Studio;
  const line = h("p", { class: "line", role: "status" });
  const cancel = h("button", { type: "button", class: "quiet bench-cancel", title: t("canvas.cancel.why") }, t("canvas.cancel"));
  const progress = h("progress", { max: 1, value: 0, "aria-label": t("canvas.progress") });
  const element = h("div", { class: "bench", "data-busy": "false" }, h("div", { class: "canvas-head" }, line, cancel), progress);
  let back = null;
  let hear = null; // what comes of the newest question
  let cost = ""; // what it cost a run that trains beside it, told after whatever is said in the end
  const say = (text, busy = false) => {
    put(line, cost ? `${text} ${cost}` : text);
    line.setAttribute("aria-busy", busy); // numbers that change ten times a second are not read aloud
    element.dataset.busy = busy;
  };
  const ask = (what, asked, show) => {
    cost = "";
    say(t("generation.loading"), true);
    progress.removeAttribute("value");
    hear = (told) => {
      if (told.done > 0) progress.value = told.done;
      if (told.busy && told.line) say(told.line, true);
      if (!told.busy) {
        back = null;
        cost = told.cost || "";
        if (told.error) say(told.error);
        else if (told.cancelled) say(t("canvas.cancelled"));
        else element.dataset.busy = false;
        line.setAttribute("aria-busy", false);
      }
      show(told);
    };
    back = Studio.make(what, part, { ...Studio.how.values, ...asked }, hear);
  };
  // Takes back what was asked, in silence.
  const drop = () => {
    back?.();
    back = null;
    cost = "";
    say("");
  };
  // Nothing more is heard of the studio then: that it was cancelled is said here, to the room too.
  cancel.addEventListener("click", () => {
    back?.();
    hear({ busy: false, cancelled: true });
  });
  return { element, ask, say, drop };
};

// Links that save what was made. Browsers refuse to save long data: addresses, so the bytes go into a blob.
Studio.saveLinks = () => {
  const { t, h } = Studio;
  const element = h("div", { class: "canvas-files", hidden: true });
  let blobs = [];
  const link = ({ name, kind, href }) => {
    const bytes = Uint8Array.from(atob(href.slice(href.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type: kind === "mp4" ? "video/mp4" : "image/" + kind }));
    blobs.push(url);
    return h("a", { class: "quiet", href: url, download: name, title: t("canvas.save.why") }, t("canvas.save." + kind));
  };
  const show = (files) => {
    blobs.forEach((url) => URL.revokeObjectURL(url));
    blobs = [];
    element.hidden = files.length === 0;
    element.replaceChildren(...files.map(link), ...(files.length ? [h("span", { class: "hint" }, t("canvas.save.why"))] : []));
  };
  return { element, show };
};
