// Everything that was made here, newest first: thumbnails, and one picture large with its recipe and what can be done with it.
Studio.rooms.history = () => {
  const { t, h, put, place } = Studio;
  const list = h("div", { class: "made-list", role: "group", "aria-label": t("mode.history") });
  const more = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => load(false) }, t("history.more"));
  const line = h("p", { class: "line", role: "status" });
  const empty = h("p", { class: "empty", hidden: true }, t("history.empty"));
  const large = Studio.madePicture({
    closed: (key) => {
      leftFrom = key;
      giveBack();
    },
    gone: (key) => {
      entries = entries.filter((entry) => entry.key !== key);
      draw();
    },
  });
  const element = h("div", { class: "made" }, h("p", { class: "hint" }, t("mode.history.why")), large.element, line, empty, list, more);
  let entries = [];
  let leftFrom = null; // the picture that was closed, until its card is there to get the focus

  const card = (entry) => {
    const when = Studio.moment(entry.when);
    const seed = entry.seed === null ? null : t("history.seed", { seed: entry.seed });
    const image = h("img", { class: "pixels", loading: "lazy", src: "/studio/thumbnail/" + entry.address, alt: "" });
    const words = h("span", { class: "made-words" }, h("strong", {}, entry.what), h("span", {}, entry.run), h("span", {}, [when, seed].filter(Boolean).join(" · ")));
    return h("button", { type: "button", class: "made-card", tabindex: -1, "data-key": entry.key, onclick: () => place.set("picture", entry.key) }, h("span", { class: "made-picture" }, image), words);
  };
  const giveBack = () => {
    const known = [...list.children].find((known) => known.dataset.key === leftFrom);
    if (!known) return;
    known.focus();
    leftFrom = null;
  };
  const draw = () => {
    const focused = document.activeElement;
    const cards = entries.map((entry) => [...list.children].find((known) => known.dataset.key === entry.key) || card(entry));
    list.replaceChildren(...cards);
    if (list.contains(focused)) focused.focus(); // a card that stays loses it in between
    else if (focused === document.body) giveBack();
    else leftFrom = null; // somebody went on
    if (cards.length && !cards.some((known) => known.tabIndex === 0)) cards[0].tabIndex = 0;
    empty.hidden = entries.length > 0;
    mark();
  };
  const mark = () => [...list.children].forEach((known) => known.setAttribute("aria-pressed", known.dataset.key === place.get("picture")));
  const load = async (anew) => {
    try {
      const last = anew ? null : entries.at(-1)?.key;
      const told = await Studio.get("/studio/history" + (last ? "?before=" + encodeURIComponent(last) : ""));
      entries = anew ? told.entries : [...entries, ...told.entries];
      more.hidden = !told.more;
      put(line, "");
      draw();
    } catch (error) {
      put(line, error.message);
    }
  };
  const look = () => {
    mark();
    large.show(place.get("picture"));
  };
  // As many in a row as there is room for.
  Studio.roving(list, () => {
    const tops = [...list.children].map((known) => known.offsetTop);
    return tops.filter((top) => top === tops[0]).length;
  });
  place.watch("picture", look);
  return {
    element,
    enter: () => {
      load(true);
      look();
    },
  };
};

// The history, with this picture open.
Studio.showMade = (key) => {
  Studio.place.set("picture", key);
  Studio.place.set("mode", "history");
};

Studio.moment = (seconds) => new Date(1000 * seconds).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

// One kept picture, large. `closed` hears the key of the one that was closed, `gone` of one that was deleted.
Studio.madePicture = ({ closed, gone }) => {
  const { t, h, put, place } = Studio;
  const bench = Studio.bench("again");
  const figure = (id, words) => {
    const image = Studio.pixelImage(420);
    return { image, element: h("figure", { id, class: "made-figure" }, image, h("figcaption", { class: "hint" }, t(words))) };
  };
  const [was, again, difference] = [figure("made_was", "again.was"), figure("made_again", "again.again"), figure("made_difference", "again.difference")];
  const figures = h("div", { class: "made-figures" }, was.element);
  const title = h("h3");
  const facts = h("dl", { class: "made-facts" });
  const problem = h("p", { class: "hint" });
  const button = (id, act) => h("button", { id, type: "button", class: "quiet", title: t(`history.${id.slice(5)}.why`), onclick: act }, t(`history.${id.slice(5)}`));
  const use = button("made_use", () => recall());
  const remake = button("made_remake", () => makeAgain());
  const save = h("a", { id: "made_save", class: "quiet", title: t("canvas.save.why") }, t("canvas.save.png"));
  const forget = button("made_forget", () => sure(true));
  const really = button("made_really", () => remove());
  const keep = button("made_keep", () => sure(false));
  const question = h("div", { class: "made-actions", role: "alert", hidden: true }, h("span", {}, t("history.sure")), really, keep);
  const actions = h("div", { class: "made-actions" }, use, remake, save, forget);
  const close = h("button", { id: "made_close", type: "button", class: "quiet", onclick: () => leave() }, t("history.close"));
  const element = h("section", { class: "made-open", hidden: true, "aria-label": t("history.open") }, h("div", { class: "made-head" }, title, close), figures, actions, question, bench.element, problem, facts);
  let shown = null;

  const leave = () => {
    const key = shown?.key;
    place.set("picture", "");
    if (key) closed(key);
  };
  element.addEventListener("keydown", (event) => event.key === "Escape" && leave());
  const sure = (asking) => {
    question.hidden = !asking;
    actions.hidden = asking;
    (asking ? keep : forget).focus();
  };
  const recall = async () => {
    try {
      Studio.bringBack(await Studio.get("/studio/recall/" + shown.address));
    } catch (error) {
      bench.say(error.message);
    }
  };
  const remove = async () => {
    const { key, address } = shown;
    try {
      await Studio.post("/studio/forget/" + address);
      leave();
      gone(key);
    } catch (error) {
      sure(false);
      bench.say(error.message);
    }
  };
  const makeAgain = () => {
    figures.replaceChildren(was.element);
    bench.ask("again", { key: shown.key }, (told) => {
      const pictures = { preview: again, again, difference };
      for (const [name, { image, element: place }] of Object.entries(pictures)) {
        if (!told[name]) continue;
        image.src = told[name];
        image.alt = place.textContent;
        if (!place.isConnected) figures.append(place);
      }
      if (told.same) again.element.remove();
      if (told.says) says = told.says;
      if (!told.busy && !told.error && !told.cancelled) bench.say(says);
      if (!told.busy && (told.error || told.cancelled)) figures.replaceChildren(was.element);
    });
  };
  let says = "";

  const show = async (key) => {
    if (!key || key !== shown?.key) {
      bench.drop();
      figures.replaceChildren(was.element);
    }
    if (!key) {
      shown = null;
      element.hidden = true;
      return;
    }
    try {
      const told = await Studio.get("/studio/recipe/" + key.split("/").map(encodeURIComponent).join("/"));
      if (place.get("picture") !== key) return;
      const fresh = key !== shown?.key;
      shown = told;
      put(title, told.title);
      put(problem, told.problem);
      use.disabled = Boolean(told.problem);
      was.image.src = "/studio/made/" + told.address;
      was.image.alt = told.title;
      save.href = "/studio/made/" + told.address;
      save.download = key.split("/").pop();
      const when = [t("history.when"), Studio.moment(told.when)];
      facts.replaceChildren(...[when, ...told.words].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
      element.hidden = actions.hidden = false;
      question.hidden = true;
      if (fresh) {
        element.scrollIntoView({ block: "nearest" });
        close.focus({ preventScroll: true });
      }
    } catch (error) {
      shown = null;
      element.hidden = true;
      if (!error.told) return;
      place.set("picture", "");
      Studio.notice(error.message);
    }
  };
  return { element, show };
};
