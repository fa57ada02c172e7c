// What all widgets of the page share: words, a poll that never dies, tiny DOM helpers, and the run that is being looked at.
window.Studio = window.Studio || {};

// The words of assets/locales/en.json, put into the page by pages/look.py.
Studio.t = (key, values = {}) => {
  const text = Studio.texts[key];
  if (text === undefined) throw new Error(`no text for "${key}"`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
};

// An element with attributes and children. Text goes in as text, never as HTML, so no name can carry a script.
Studio.h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true && !name.startsWith("aria-")) element.setAttribute(name, "");
    else if ((value !== false || name.startsWith("aria-")) && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

// Writes text only when it changed: a screen reader then repeats nothing, and the browser has no work.
Studio.put = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

Studio.shown = (element) => element.isConnected && element.getClientRects().length > 0;

// Runs `work` again and again. The next turn is planned only after the last one settled, so a slow studio is never
// flooded; errors do not end it; a hidden page or widget rests. Returns a function that asks for a turn at once.
Studio.poll = (element, milliseconds, work) => {
  let timer = null;
  let busy = false;
  let again = false;
  const turn = async () => {
    clearTimeout(timer);
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    again = false;
    try {
      if (!document.hidden && Studio.shown(element)) await work();
    } catch (error) {
      console.debug(error); // the studio may be restarting: the next turn tries again
    }
    busy = false;
    if (again) turn();
    else timer = setTimeout(turn, milliseconds);
  };
  document.addEventListener("visibilitychange", () => document.hidden || turn());
  // A tab that opens shows fresh numbers at once instead of after the next turn.
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && turn()).observe(element);
  turn();
  return turn;
};

// JSON from the studio; null for 204 (nothing newer). Throws with the studio's own sentence when there is one.
Studio.get = async (path) => Studio.answer(await fetch(path, { cache: "no-store" }));
Studio.post = async (path) => Studio.answer(await fetch(path, { method: "POST", cache: "no-store" }));
Studio.answer = async (response) => {
  if (response.status === 204) return null;
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw Object.assign(new Error(body.error || Studio.t("action.failed")), { status: response.status, told: Boolean(body.error), body });
};

// Numbers for people.
Studio.number = (value, digits = 3) => {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  if (size > 0 && size < 0.001) return value.toExponential(1);
  return String(Number(value.toPrecision(digits)));
};
Studio.duration = (seconds) => {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return Studio.t("time.seconds", { s });
  if (s < 3600) return Studio.t("time.minutes", { m: Math.floor(s / 60), s: s % 60 });
  if (s < 86400) return Studio.t("time.hours", { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) });
  return Studio.t("time.days", { d: Math.floor(s / 86400), h: Math.floor((s % 86400) / 3600) });
};

// What is training now, as the strip hears it every second.
Studio.now = {
  status: null,
  listeners: [],
  set: (status) => {
    Studio.now.status = status;
    Studio.now.listeners.forEach((listener) => listener(status));
  },
  watch: (listener) => {
    Studio.now.listeners.push(listener);
    listener(Studio.now.status);
  },
};

// What is being looked at lives in the address (#tab=monitoring&run=NAME): a reload or a bookmark shows the same.
Studio.place = {
  listeners: [],
  get: (key) => new URLSearchParams(location.hash.slice(1)).get(key),
  set: (key, value) => {
    const place = new URLSearchParams(location.hash.slice(1));
    if ((place.get(key) || "") === value) return;
    if (value) place.set(key, value);
    else place.delete(key);
    history.replaceState(null, "", "#" + place);
    Studio.place.tell(key);
  },
  tell: (key) => Studio.place.listeners.forEach((listener) => listener(key)),
  watch: (key, listener) => Studio.place.listeners.push((changed) => changed === key && listener()),
};

// The open tab. Gradio tells that the first one is selected before anybody chose: that must not overwrite the address.
Studio.tabsReady = false;
Studio.rememberTab = (tab) => Studio.tabsReady && Studio.place.set("tab", tab);
// An update for gr.Tabs: the tab that is asked for, or the one that was open before a reload.
Studio.openTab = (tab) => {
  Studio.tabsReady = true;
  if (tab) Studio.place.set("tab", tab);
  return { __type__: "update", selected: Studio.place.get("tab") || "training" };
};

// A question to one of the studio's explorers: `tell` hears each line of its answer, the last one with busy false. A newer
// question with the same `part` takes back the older one, there and here. Returns a function that takes it back by hand.
Studio.page = crypto.randomUUID();
Studio.asking = {};
Studio.asked = 0; // so the studio knows which question is the newer one, in whatever order they arrive
Studio.make = (what, part, asked, tell) => {
  const number = ++Studio.asked;
  Studio.asking[part]?.();
  const gone = new AbortController();
  const drop = () => gone.abort();
  Studio.asking[part] = drop;
  (async () => {
    try {
      const body = JSON.stringify({ ...asked, page: Studio.page, part, number });
      const answer = await fetch(`/studio/make/${what}`, { method: "POST", body, signal: gone.signal, cache: "no-store" });
      if (!answer.ok) await Studio.answer(answer);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || gone.signal.aborted) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        lines.forEach((line) => gone.signal.aborted || tell(JSON.parse(line)));
      }
    } catch (error) {
      if (!gone.signal.aborted) tell({ busy: false, error: error.told ? error.message : Studio.t("action.failed") });
    }
    if (Studio.asking[part] === drop) delete Studio.asking[part];
  })();
  return () => {
    drop();
    const body = JSON.stringify({ page: Studio.page, part, number });
    fetch("/studio/cancel", { method: "POST", body }).catch(() => {});
  };
};
