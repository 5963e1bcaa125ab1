/* Decisions: keys, ranges, notes, undo, and what the server tells. Loaded only by the page that a review serves.

   POST api/decisions  [{job, sha256, verdict, reasons, note}]; 200 once they are durable, else {error}
   GET  api/events     entries (rows that are new or have changed), progress, reload, trouble */
(function () {
  "use strict";
  const imagebatch = window.imagebatch;
  const { el, said, money, number } = imagebatch;
  const REASONS = ["colour", "shape", "hands", "text in picture", "cut off", "background", "light", "wrong product", "other"];
  const MOST_AT_ONCE = 5000;
  const NEWS_MS = 700;

  const review = { start, shown, leave, clicked, verdictOf, isChosen: (row) => chosen.has(row) };
  let app = null;
  let chosen = new Set();
  let anchor = -1;
  let queue = Promise.resolve();
  let unsaved = [];
  let progress = null;
  let trouble = "";
  let lost = false;
  let newsTimer = 0;
  let tellTimer = 0;
  /* What is on its way to the server, by job and picture. */
  const saving = new Map();
  /* Batches of [decision, what stood before], newest last. */
  const done = [];

  function start(started) {
    app = started;
    app.keys.push(
      ["A", "accept"],
      ["R, X", "reject"],
      ["1–9", "reject with a reason: " + REASONS.map((reason, index) => index + 1 + " " + reason).join(", ")],
      ["N", "note"],
      ["U", "undo"],
      ["Space", "next one not seen yet"],
      ["C", "all versions and samples; pick one"],
      ["Shift + arrows, Shift + click", "choose several"],
    );
    buildFoot();
    app.detail.dialog.addEventListener("keydown", pressed, true);
    document.addEventListener("keydown", (event) => !app.detail.dialog.open && pressed(event), true);
    window.addEventListener("beforeunload", (event) => (saving.size || unsaved.length) && event.preventDefault());
    listen();
  }

  /* What a decision is about: the picture on the stage, or those of the chosen or active cells. */

  function targets() {
    if (app.detail.dialog.open) {
      const picture = app.detail.shownPicture();
      return picture ? [target(app.detail.row, picture.sha)] : [];
    }
    const rows = chosen.size ? [...chosen] : [app.rows[app.grid.active]];
    return rows.filter((row) => row !== undefined && app.table.get(row, "sha")).map((row) => target(row, app.table.get(row, "sha")));
  }

  function target(row, sha256) {
    return { row, job: app.table.get(row, "id"), sha256 };
  }

  /* The word that stands for a picture: the one being saved, or the last one the page was told. */
  function current({ row, job, sha256 }) {
    const waiting = saving.get(key(job, sha256));
    if (waiting) return waiting;
    if (app.table.get(row, "sha") === sha256) return words((name) => app.table.get(row, name));
    const picture = pictureOf(row, sha256);
    return picture ? words((name) => picture[name]) : { verdict: "", reasons: [], note: "" };
  }

  function words(get) {
    const isPersons = get("side") !== "machine";
    return { verdict: isPersons ? get("verdict") : "", reasons: String(get("reasons")).split(",").filter(Boolean), note: get("note") };
  }

  function pictureOf(row, sha256) {
    const details = app.table.details[row];
    const pictures = details ? details.versions.flatMap((version) => version.pictures) : [];
    return pictures.find((picture) => picture.sha === sha256);
  }

  function key(job, sha256) {
    return sha256 + " " + job;
  }

  /* Deciding. */

  /* change(what stood before, target) returns what is other from now on, or null to leave a picture alone. */
  function decide(list, change) {
    const batch = [];
    for (const each of list) {
      const before = current(each);
      const other = change(before, each);
      if (other) batch.push({ target: each, before, after: Object.assign({}, before, other) });
    }
    if (!batch.length) return;
    done.push(batch);
    send(batch.map(({ target: about, after }) => [about, after]));
  }

  function undo() {
    const batch = done.pop();
    if (!batch) return say("Nothing to undo.");
    send(batch.map(({ target: about, before }) => [about, before.verdict ? before : { verdict: "undone", reasons: [], note: "" }]));
    return say(batch.length === 1 ? "Undone: " + batch[0].target.job : "Undone: " + number(batch.length) + " decisions");
  }

  function send(pairs) {
    pairs.forEach(([about, word]) => saving.set(key(about.job, about.sha256), word));
    renew(pairs.map(([about]) => about.row));
    for (let from = 0; from < pairs.length; from += MOST_AT_ONCE) {
      const part = pairs.slice(from, from + MOST_AT_ONCE);
      queue = queue.then(() => post(part));
    }
  }

  function post(pairs) {
    const body = JSON.stringify(pairs.map(([{ job, sha256 }, { verdict, reasons, note }]) => ({ job, sha256, verdict, reasons, note })));
    return fetch("api/decisions", { method: "POST", body, headers: { "Content-Type": "application/json" } })
      .then((answer) => (answer.ok ? null : answer.json().then((told) => told.error, () => "HTTP " + answer.status)))
      .catch(() => "the server cannot be reached; is imagebatch review still running?")
      .then((error) => (error ? refuse(pairs, error) : settle(pairs)));
  }

  function settle(pairs) {
    for (const [about, word] of pairs) {
      take(about, word);
      if (saving.get(key(about.job, about.sha256)) === word) saving.delete(key(about.job, about.sha256));
    }
    renew(pairs.map(([about]) => about.row));
  }

  /* Nothing shows as decided that the server has not confirmed. */
  function refuse(pairs, error) {
    unsaved = unsaved.concat(pairs);
    pairs.forEach(([about, word]) => {
      if (saving.get(key(about.job, about.sha256)) === word) saving.delete(key(about.job, about.sha256));
    });
    trouble = number(unsaved.length) + (unsaved.length === 1 ? " decision is" : " decisions are") + " not saved: " + error;
    renew(pairs.map(([about]) => about.row));
  }

  function sendAgain() {
    const pairs = unsaved;
    unsaved = [];
    trouble = "";
    send(pairs);
  }

  function take({ row, sha256 }, word) {
    const verdict = word.verdict === "undone" ? "" : word.verdict;
    const facts = { verdict, side: verdict ? "person" : "", reasons: word.reasons.join(","), note: word.note, seen: word.verdict !== "undone" };
    /* A look takes back nothing that a machine has said. */
    if (verdict === "seen" && app.table.get(row, "side") === "machine") return setAll(row, sha256, { seen: true });
    return setAll(row, sha256, facts);
  }

  function setAll(row, sha256, facts) {
    const places = [app.table.get(row, "sha") === sha256 ? (name, value) => app.table.set(row, name, value) : null];
    const picture = pictureOf(row, sha256);
    if (picture) places.push((name, value) => (picture[name] = value));
    for (const [name, value] of Object.entries(facts)) places.forEach((put) => put && put(name, value));
  }

  /* What the grid shows of a row: [verdict, whether it is still on its way]. */
  function verdictOf(row) {
    const sha = app.table.get(row, "sha");
    const waiting = sha && saving.get(key(app.table.get(row, "id"), sha));
    if (waiting) return [waiting.verdict === "undone" ? "" : waiting.verdict, true];
    return [app.table.get(row, "verdict"), false];
  }

  /* Keys. */

  function pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || imagebatch.isTyping(event.target)) return undefined;
    if (["help", "note", "board"].some((id) => document.getElementById(id).open)) return undefined;
    const inGrid = !app.detail.dialog.open;
    if (inGrid && event.shiftKey && event.key.startsWith("Arrow")) return stretch(event);
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const isButton = event.target.closest && event.target.closest("button, summary, a[href]:not(.cell)");
    if (name === " " && isButton) return undefined;
    const run = inGrid && name === "Escape" ? chosen.size && choose : KEYS[name] || (/^[1-9]$/.test(name) && (() => reason(Number(name) - 1)));
    if (!run || (name === "c" && inGrid)) return undefined;
    event.preventDefault();
    event.stopPropagation();
    return run();
  }

  const KEYS = {
    a: () => judge("accepted"),
    r: () => judge("rejected"),
    x: () => judge("rejected"),
    n: () => note(),
    u: () => undo(),
    " ": () => nextUnseen(),
    c: () => board(),
  };

  function judge(verdict) {
    const list = targets();
    decide(list, (before) => (before.verdict === verdict ? {} : { verdict, reasons: [], note: verdict === "rejected" ? before.note : "" }));
    if (list.length === 1) goOn();
  }

  function reason(index) {
    const list = targets();
    const word = REASONS[index];
    const hasAll = list.every((each) => current(each).verdict === "rejected" && current(each).reasons.includes(word));
    decide(list, (before) => {
      const others = before.verdict === "rejected" ? before.reasons.filter((each) => each !== word) : [];
      return { verdict: "rejected", reasons: hasAll ? others : others.concat(word) };
    });
  }

  /* Moving on. A picture that was looked at and not judged is seen. */

  function goOn() {
    if (app.detail.dialog.open) app.step(1);
    else app.grid.moveTo(app.grid.active + 1);
  }

  function isUnseen(row) {
    const sha = app.table.get(row, "sha");
    return Boolean(sha) && app.table.get(row, "seen") !== true && !saving.has(key(app.table.get(row, "id"), sha));
  }

  function nextUnseen() {
    const open = app.detail.dialog.open;
    const from = open ? app.rows.indexOf(app.detail.row) : app.grid.active;
    const count = app.rows.length;
    if (open) leave(app.detail.row);
    for (let by = 1; by < count; by += 1) {
      const index = (from + by) % count;
      if (!isUnseen(app.rows[index])) continue;
      app.grid.moveTo(index, !open);
      if (open) app.openRow(app.rows[index], true);
      return undefined;
    }
    return say("Everything here has been seen.");
  }

  let lastShown = null;

  function shown(row, detail) {
    if (lastShown && lastShown.row !== row) leave(lastShown.row);
    const picture = detail.shownPicture();
    lastShown = picture ? target(row, picture.sha) : null;
    fillActions(detail, picture);
  }

  function leave(row) {
    const about = lastShown;
    if (!about || about.row !== row) return;
    lastShown = null;
    const picture = pictureOf(row, about.sha256);
    if (!current(about).verdict && !(picture && picture.seen)) send([[about, { verdict: "seen", reasons: [], note: "" }]]);
  }

  /* Choosing several. */

  function clicked(index, event) {
    if (!event || !event.shiftKey) {
      choose();
      anchor = index;
      return false;
    }
    range(anchor < 0 ? index : anchor, index);
    return true;
  }

  function stretch(event) {
    event.preventDefault();
    event.stopPropagation();
    if (!chosen.size) anchor = app.grid.active;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: app.grid.columns, ArrowUp: -app.grid.columns };
    app.grid.moveTo(app.grid.active + steps[event.key]);
    range(anchor, app.grid.active);
  }

  function range(first, last) {
    chosen = new Set(app.rows.slice(Math.min(first, last), Math.max(first, last) + 1));
    app.grid.renew();
    say(number(chosen.size) + " chosen");
    tell();
  }

  function choose() {
    if (!chosen.size) return;
    chosen = new Set();
    app.grid.renew();
    tell();
  }

  /* A note: on what was chosen when it was opened. */

  function note() {
    const list = targets();
    if (!list.length) return;
    const dialog = document.getElementById("note");
    const box = el("textarea", { id: "note-text", rows: "3", maxlength: "2000", dir: "auto" });
    box.value = list.length === 1 ? current(list[0]).note : "";
    const save = () => {
      dialog.close();
      decide(list, (before) => ({ verdict: ["accepted", "rejected"].includes(before.verdict) ? before.verdict : "rejected", note: box.value.trim() }));
    };
    box.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        save();
      }
    });
    const about = list.length === 1 ? list[0].job : number(list.length) + " pictures";
    dialog.replaceChildren(
      el("h2", { id: "note-title" }, "Note on ", imagebatch.text("span", about)),
      el("label", { for: "note-text" }, "What should be different? A picture without a verdict is rejected with it."),
      box,
      el("div", { class: "buttons" }, button("Save", save), button("Cancel", () => dialog.close())),
    );
    dialog.showModal();
    box.focus();
  }

  /* All versions of a job, and of the samples beside it: pick one. */

  function board() {
    const id = app.table.get(app.detail.row, "id");
    const rows = samplesOf(id);
    let left = rows.length;
    rows.forEach((row) => imagebatch.withDetails(app.table, row, () => (left -= 1) || showBoard(rows)));
  }

  function samplesOf(id) {
    const base = /^(.*)\.[0-9]+$/.exec(id);
    const rows = [];
    for (let sample = 1; base && app.table.rowOf(base[1] + "." + sample) >= 0; sample += 1) rows.push(app.table.rowOf(base[1] + "." + sample));
    return rows.length > 1 ? rows : [app.detail.row];
  }

  function showBoard(rows) {
    const pictures = [];
    for (const row of rows) {
      const details = app.table.details[row];
      (details ? details.versions : []).forEach((version) =>
        version.pictures.forEach((picture) => pictures.push({ row, version, picture })),
      );
    }
    if (pictures.length < 2) return say("There is one picture only.");
    const dialog = document.getElementById("board");
    const items = pictures.map(({ row, version, picture }) => {
      const words = app.table.get(row, "id") + (pictures.some((other) => other.row === row && other.version !== version) ? ", " + (version.source || "version " + version.number) : "");
      const image = el("img", { src: imagebatch.address(app.base, picture.path), alt: "" });
      const mark = picture.verdict ? el("span", { class: "mark " + picture.verdict }, said("review", picture.verdict)) : null;
      return el("button", { type: "button", class: "pick", onclick: () => pick(row, version, picture, pictures, dialog) }, image, el("span", { class: "name" }, imagebatch.text("span", words), mark));
    });
    dialog.replaceChildren(
      el("div", { class: "detail-bar" }, el("h2", { id: "board-title", tabindex: "-1" }, "Pick one: it is accepted, the others count as seen"), button("×", () => dialog.close(), "Close")),
      el("div", { class: "picks" }, items),
    );
    dialog.showModal();
    return items[0].focus();
  }

  function pick(row, version, picture, pictures, dialog) {
    dialog.close();
    if (row !== app.detail.row) app.openRow(row);
    app.detail.pick(version.number - 1, version.pictures.indexOf(picture));
    const list = pictures.map((each) => target(each.row, each.picture.sha));
    decide(list, (before, each) => {
      const isPicked = each.row === row && each.sha256 === picture.sha;
      if (isPicked) return { verdict: "accepted", reasons: [], note: "" };
      return before.verdict === "rejected" ? null : { verdict: "seen", reasons: [], note: "" };
    });
  }

  /* The server's news. */

  function listen() {
    const events = new EventSource("api/events");
    events.addEventListener("open", () => {
      lost = false;
      tell();
    });
    events.addEventListener("error", () => {
      lost = true;
      tell();
    });
    events.addEventListener("entries", (event) => takeEntries(JSON.parse(event.data)));
    events.addEventListener("progress", (event) => {
      progress = JSON.parse(event.data);
      tell();
    });
    events.addEventListener("trouble", (event) => {
      trouble = JSON.parse(event.data);
      tell();
    });
    events.addEventListener("reload", () => {
      trouble = "The folder has changed; load the page anew.";
      tell();
    });
  }

  function takeEntries(entries) {
    for (const { row, details, position } of entries) {
      const place = app.table.put(row, details, position);
      if (place >= 0 && app.detail.dialog.open && app.detail.row === place) app.detail.fill(app.table.details[place]);
    }
    clearTimeout(newsTimer);
    newsTimer = setTimeout(() => app.addNew(), NEWS_MS);
    renew([]);
  }

  /* What is shown of all that. */

  function renew(rows) {
    app.grid.renew();
    if (app.detail.dialog.open && rows.includes(app.detail.row) && app.detail.details) app.detail.fill(app.detail.details);
    clearTimeout(tellTimer);
    tellTimer = setTimeout(() => {
      tell();
      app.drawFilters();
    }, 60);
  }

  function button(label, onclick, name) {
    return el("button", { type: "button", onclick, "aria-label": name || false }, label);
  }

  function fillActions(detail, picture) {
    if (!picture) return detail.actions.replaceChildren();
    const about = target(detail.row, picture.sha);
    const word = current(about);
    const isSaving = saving.has(key(about.job, about.sha256));
    const verdicts = [["accepted", "Accept", "A"], ["rejected", "Reject", "R"]].map(([verdict, label, letter]) =>
      el("button", { type: "button", class: "verdict " + verdict, "aria-pressed": String(word.verdict === verdict), onclick: () => judge(verdict) }, label, " ", el("kbd", {}, letter)),
    );
    const reasons = REASONS.map((each, index) =>
      el("button", { type: "button", class: "reason", "aria-pressed": String(word.verdict === "rejected" && word.reasons.includes(each)), onclick: () => reason(index) }, el("kbd", {}, String(index + 1)), " ", each),
    );
    const others = [
      el("button", { type: "button", onclick: note }, word.note ? "Edit the note " : "Note ", el("kbd", {}, "N")),
      el("button", { type: "button", onclick: undo }, "Undo ", el("kbd", {}, "U")),
      el("button", { type: "button", onclick: nextUnseen }, "Next unseen ", el("kbd", {}, "Space")),
    ];
    const focused = document.activeElement && detail.actions.contains(document.activeElement) ? [...detail.actions.querySelectorAll("button")].indexOf(document.activeElement) : -1;
    detail.actions.replaceChildren(
      el("div", { class: "verdicts" }, verdicts, others, el("span", { class: "saving" }, isSaving ? "Saving…" : "")),
      el("div", { class: "reasons", role: "group", "aria-label": "Reasons to reject" }, reasons),
      el("p", { class: "tally" }, document.getElementById("counters").textContent),
    );
    if (focused >= 0) detail.actions.querySelectorAll("button")[focused].focus();
    return undefined;
  }

  function buildFoot() {
    const foot = document.getElementById("foot");
    foot.hidden = false;
    foot.replaceChildren(el("p", { id: "counters" }), el("p", { id: "run" }), el("p", { id: "trouble", role: "alert" }), el("p", { id: "said", role: "status", class: "unseen" }));
    document.body.append(el("dialog", { id: "note", "aria-labelledby": "note-title" }), el("dialog", { id: "board", "aria-labelledby": "board-title" }));
    document.getElementById("board").addEventListener("keydown", (event) => event.stopPropagation());
  }

  function counted() {
    const counts = { pictures: 0, seen: 0, accepted: 0, rejected: 0, cost: 0 };
    app.table.eachChunk((chunk, first, length) => {
      for (let index = 0; index < length; index += 1) {
        counts.cost += Number(imagebatch.valueOf(chunk.cost, index)) || 0;
        if (!imagebatch.valueOf(chunk.sha, index)) continue;
        const verdict = imagebatch.valueOf(chunk.verdict, index);
        counts.pictures += 1;
        if (imagebatch.valueOf(chunk.seen, index) === true) counts.seen += 1;
        if (verdict === "accepted" || verdict === "rejected") counts[verdict] += 1;
      }
    });
    return counts;
  }

  function tell() {
    const counts = counted();
    const words = [number(counts.seen) + " of " + number(counts.pictures) + " seen", number(counts.accepted) + " accepted", number(counts.rejected) + " rejected"];
    if (counts.accepted) words.push(money(counts.cost / counts.accepted) + " per accepted picture");
    if (chosen.size) words.push(number(chosen.size) + " chosen");
    document.getElementById("counters").textContent = words.join(" · ");
    app.detail.actions.querySelectorAll(".tally").forEach((each) => (each.textContent = words.join(" · ")));
    document.getElementById("run").textContent = progress ? progressWords() : "";
    const box = document.getElementById("trouble");
    const told = trouble || (lost ? "The connection to the server is lost; what you decide is not saved." : "");
    if (box.dataset.told !== told) box.replaceChildren(told, unsaved.length ? " " : "", unsaved.length ? button("Try again", sendAgain) : "");
    box.dataset.told = told;
  }

  function progressWords() {
    const words = ["Run: " + number(progress.ended) + " of " + number(progress.to_do)];
    if (progress.per_minute) words.push(Math.round(progress.per_minute) + " a minute");
    words.push(money(progress.cost_usd));
    if (progress.limits_now) words.push("limited by " + progress.limits_now);
    return words.join(" · ");
  }

  function say(what) {
    document.getElementById("said").textContent = what;
  }

  imagebatch.review = review;
})();
