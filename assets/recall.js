// A PNG that was made here brings its settings back: dropped anywhere on the Generation tab, or chosen from the disk.
Studio.recall = (element, props, tell) => {
  const { t, h } = Studio;
  const root = element.querySelector(".recall");
  const LARGEST = 64 * 2 ** 20; // bytes, as in ddpm_core/recipes.py
  const file = h("input", { id: "recall_file", type: "file", accept: "image/png", class: "unseen", tabindex: -1, "aria-hidden": true });
  const choose = h("button", { id: "recall_choose", type: "button", class: "quiet", onclick: () => file.click() }, t("recall.choose"));
  root.append(h("p", { class: "hint" }, t("recall.why")), choose, file);

  const hint = h("div", { class: "studio drop-hint", hidden: true, "aria-hidden": true }, h("p", {}, t("recall.drop")));
  document.body.append(hint);
  const here = () => Studio.shown(document.getElementById("generation_view"));

  // Puts settings into the form, as pages/recall.py tells them, and opens what they are for.
  let classes = null; // that came back with another model than the chosen one
  let newest = 0; // counts what was asked to come back: the answer to a small file may overtake that to an older, large one
  Studio.bringBack = ({ mode, fields, line, key, room }) => {
    newest += 1;
    const model = fields.model?.value;
    const told = Studio.ON_CANVAS.includes(mode) ? { which_class: { value: "any" }, which_end: { value: "same" }, ...fields } : fields;
    classes = model && model !== Studio.how.values.model ? { model, ends: [told.which_class?.value, told.which_end?.value] } : null;
    props.value = { mode, fields: told, line };
    tell();
    if (fields.model) Studio.place.set("model", fields.model.value);
    Studio.place.set("mode", mode);
    Studio.notice(line, key);
    Studio.fillRoom(mode, room);
  };
  // What is chosen of a model's classes when it becomes the chosen model: any, if nothing came back with it.
  Studio.classesOf = (model) => {
    const [which, end] = classes?.model === model ? classes.ends : [];
    classes = null;
    return [which || "any", end || "same"];
  };
  // A picture of ours from elsewhere, or one that the command line made, goes into the history, and is opened there.
  Studio.keepMade = async (picture) => {
    try {
      const answer = await fetch("/studio/keep", { method: "POST", body: picture, cache: "no-store" });
      Studio.showMade((await Studio.answer(answer)).key);
    } catch (error) {
      Studio.notice(error.told ? error.message : t("action.failed"));
    }
  };
  Studio.recalled = (wish, names) => names.map((name) => ({ __type__: "update", ...wish?.fields?.[name] }));

  const read = async (picture) => {
    if (!picture) return;
    const number = ++newest;
    try {
      if (picture.size > LARGEST) throw new Error(t("recall.large", { most: LARGEST >> 20 }));
      const answer = await fetch("/studio/dropped", { method: "POST", body: picture, cache: "no-store" });
      const told = await Studio.answer(answer);
      if (number !== newest) return;
      Studio.bringBack(told);
      Studio.notice(told.line, told.key, picture);
    } catch (error) {
      if (number !== newest) return;
      const { key, ours } = error.body || {};
      Studio.notice(error.told || picture.size > LARGEST ? error.message : t("action.failed"), key, ours && picture);
    }
  };
  file.addEventListener("change", () => {
    read(file.files[0]);
    file.value = ""; // so that the same file can be chosen again
  });

  let timer = null;
  const leave = () => {
    clearTimeout(timer);
    hint.hidden = true;
  };
  document.addEventListener("dragover", (event) => {
    // A part of the page that takes files itself has said so by now.
    if (event.defaultPrevented || !here() || !event.dataTransfer.types.includes("Files")) return leave();
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    hint.hidden = false;
    clearTimeout(timer); // a browser that leaves the page with the file does not always say so
    timer = setTimeout(leave, 1000);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || leave());
  document.addEventListener("drop", (event) => {
    leave();
    if (event.defaultPrevented || !here() || !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // the browser would open the file in place of the page
    read(event.dataTransfer.files[0]);
  });
};
