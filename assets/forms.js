// What the Training tab shows back: lines of text, and the pictures as the network will see them.

// A line that Python fills. The text goes in as text, so nothing typed into the form can become HTML.
Studio.line = (element, props, watch) => {
  const line = element.querySelector(".line");
  const draw = () => Studio.put(line, props.value || "");
  watch("value", draw);
  draw();
};

// {facts: [[name, text]], cards: [{card: "12 GB", verdict, words}]}: the whole plan of a run, and how it would be on cards of several
// sizes. A fact without a name goes on with the one above.
Studio.plan = (element, props, watch) => {
  const { t, h } = Studio;
  const root = element.querySelector(".plan");
  const fold = (words, open, inside) => h("details", open ? { open: true } : {}, h("summary", {}, words), inside);
  const draw = () => {
    const { facts = [], cards = [] } = props.value || {};
    const open = [...root.querySelectorAll("details")].map((each) => each.open); // what was opened stays open while one fills in the form
    const fact = ([name, text]) => [h("dt", {}, name), h("dd", {}, text)];
    const badge = ({ card, verdict, words }) => h("li", { "data-verdict": verdict }, h("strong", {}, card), h("span", {}, verdict), h("span", { class: "hint" }, words));
    if (!facts.length) return root.replaceChildren();
    root.replaceChildren(
      fold(t("training.whole-plan"), open[0], h("dl", {}, ...facts.flatMap(fact))),
      fold(t("training.cards"), open[1], h("ul", {}, ...cards.map(badge))),
    );
  };
  watch("value", draw);
  draw();
};

// {pictures: [data URIs], size, line, about, error}
Studio.peek = (element, props, watch) => {
  const { t, h, put } = Studio;
  const root = element.querySelector(".peek");
  const line = h("p", { class: "peek-line" });
  const tiles = h("div", { class: "peek-tiles" });
  const about = h("p", { class: "hint" });
  const error = h("p", { class: "problem", role: "alert" });
  root.append(h("h3", {}, t("training.peek")), line, error, tiles, about);
  const draw = () => {
    const peek = props.value;
    if (!peek) return;
    put(error, peek.error || "");
    put(line, peek.line || "");
    put(about, peek.about || "");
    // Whole multiples of the picture's side would be best; a square tile close to 96 px is near enough and fills the row.
    tiles.style.setProperty("--tile", `${Math.max(84, Math.min(160, peek.size))}px`);
    tiles.replaceChildren(...(peek.pictures || []).map((uri) => h("img", { class: "pixels", src: uri, alt: t("training.peek.alt", { size: peek.size }) })));
  };
  watch("value", draw);
  draw();
};

Studio.why = (id, key) => document.getElementById(id)?.setAttribute("title", Studio.t(key));

// After Start: the Monitoring tab shows the new run.
Studio.followNew = async () => {
  const status = await Studio.get("/studio/status");
  if (status.live) Studio.place.set("run", status.name);
};
