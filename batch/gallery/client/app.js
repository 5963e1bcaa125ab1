/* Joins table, query, grid, filters and detail, and keeps what is shown in the address's fragment. */
(function () {
  "use strict";
  const imagebatch = window.imagebatch;
  const { el, said, number } = imagebatch;
  const $ = (id) => document.getElementById(id);
  const SEARCH_DELAY_MS = 60;

  function App(facts) {
    this.table = new imagebatch.Table(facts);
    this.base = facts.base;
    this.state = { search: "", filters: Object.create(null), sort: "order", part: 0, job: "" };
    this.rows = [];
    this.grid = new imagebatch.Grid($("scroller"), $("grid"), {
      make: makeCell,
      bind: (cell, index, withPicture) => this.bind(cell, this.rows[index], withPicture),
      open: (index, event) => this.opened(index, event),
    });
    this.filters = new imagebatch.Filters($("filters"), (name, values) => this.setFilter(name, values));
    this.detail = new imagebatch.Detail($("detail"), {
      table: this.table,
      base: this.base,
      step: (by) => this.step(by),
      closed: (row) => this.detailClosed(row),
      place: () => this.placeWords(),
      shown: (row, detail) => imagebatch.review && imagebatch.review.shown(row, detail),
    });
    this.keys = [
      ["/", "search"],
      ["← → ↑ ↓", "move in the grid"],
      ["Enter", "open a picture"],
      ["← →", "previous and next, in a picture"],
      ["Z", "100 %"],
      ["C", "compare versions"],
      ["T", "show result and reference in turn"],
      ["F", "filters"],
      ["Esc", "close"],
      ["?", "this help"],
    ];
  }

  App.prototype.start = function () {
    this.buildControls();
    this.readFragment();
    window.addEventListener("hashchange", () => this.fragmentChanged());
    document.addEventListener("keydown", (event) => this.pressed(event));
    if (imagebatch.review) imagebatch.review.start(this);
    this.loadPart();
  };

  /* Loading: the chunks of a part, a few at a time; what has come is shown. */

  App.prototype.loadPart = function () {
    const numbers = this.table.chunksOf(this.state.part);
    this.table.dropAllBut(numbers);
    const missing = numbers.filter((each) => !this.table.chunks[each]);
    const part = this.state.part;
    let left = missing.length;
    let drawnAt = 0;
    this.loading = left > 0;
    if (!left) this.refresh();
    const next = () => {
      const chunk = missing.shift();
      if (chunk === undefined) return;
      imagebatch.load(this.table.facts.chunks[chunk], (came) => {
        if (part !== this.state.part) return;
        if (!came) this.broken = true;
        left -= 1;
        this.loading = left > 0;
        const now = performance.now();
        if (!left || now - drawnAt > 300) {
          drawnAt = now;
          this.refresh({ stay: true });
        }
        if (!left) this.loaded();
        next();
      });
    };
    for (let lane = 0; lane < 4; lane += 1) next();
  };

  /* Everything is here: the filters, the entry that the address names, and text for the first search. */
  App.prototype.loaded = function () {
    this.drawFilters();
    if (this.state.job) this.openJob(this.state.job);
    this.prepareTexts(0);
  };

  App.prototype.prepareTexts = function (from) {
    const idle = window.requestIdleCallback || ((work) => setTimeout(work, 20));
    const chunks = [];
    this.table.eachChunk((chunk, first, length, place) => chunks.push([chunk, length, place]));
    this.prepared = from >= chunks.length;
    if (this.prepared) return;
    idle(() => {
      const [chunk, length, place] = chunks[from];
      imagebatch.textsOf(this.table, chunk, length, place);
      this.prepareTexts(from + 1);
    });
  };

  /* What is shown. */

  App.prototype.refresh = function ({ stay = false } = {}) {
    this.rows = imagebatch.find(this.table, this.state);
    $("empty").hidden = this.rows.length > 0 || this.loading;
    this.grid.show(this.rows.length, stay);
    this.tell();
    $("chosen").replaceChildren(...this.filters.chips(this.state.filters));
  };

  /* Rows that match and are not shown yet come to the end; what is shown stays where it is. */
  App.prototype.addNew = function () {
    const known = new Set(this.rows);
    const fresh = imagebatch.find(this.table, this.state).filter((row) => !known.has(row));
    if (!fresh.length) return;
    this.rows = this.rows.concat(fresh);
    $("empty").hidden = true;
    this.grid.show(this.rows.length, true);
    this.tell();
  };

  App.prototype.drawFilters = function () {
    this.filters.draw(this.table, this.state.filters);
  };

  App.prototype.tell = function () {
    const [first, end] = this.table.bounds(this.state.part);
    const all = end - first;
    const of = this.rows.length === all ? number(all) : number(this.rows.length) + " of " + number(all);
    const words = of + (all === 1 ? " job" : " jobs");
    const part = this.table.parts() > 1 ? ", part " + (this.state.part + 1) + " of " + this.table.parts() : "";
    const more = this.broken ? "; some of the data cannot be loaded" : "";
    $("count").textContent = (this.loading ? "Loading… " : "") + words + part + more;
  };

  App.prototype.setSearch = function (search) {
    this.state.search = search;
    this.refresh();
    this.writeFragment();
  };

  App.prototype.setFilter = function (name, values) {
    if (values.length) this.state.filters[name] = values;
    else delete this.state.filters[name];
    this.refresh();
    this.drawFilters();
    this.writeFragment();
  };

  App.prototype.clear = function () {
    this.state.search = $("search").value = "";
    this.state.filters = Object.create(null);
    this.refresh();
    this.drawFilters();
    this.writeFragment();
    $("search").focus();
  };

  /* Cells. */

  function makeCell() {
    const image = el("img", { alt: "", decoding: "async" });
    image.addEventListener("error", () => image.parentElement.classList.add("bare"));
    const words = el("span", { class: "instead" });
    const marks = el("span", { class: "marks" });
    const name = el("span", { class: "name foreign", dir: "auto" });
    const line = el("span", { class: "about foreign", dir: "auto" });
    const frame = el("span", { class: "frame" }, image, words, marks);
    const link = el("a", { class: "cell", tabindex: "-1" }, frame, name, line);
    return { element: el("div", { class: "item", role: "listitem" }, link), link, image, words, marks, name, line, frame };
  }

  App.prototype.bind = function (cell, row, withPicture) {
    const get = (name) => this.table.get(row, name);
    const state = get("state");
    const sha = get("sha");
    cell.link.href = "#" + this.fragment({ job: get("id") });
    cell.name.textContent = get("id");
    cell.line.textContent = state === "failed" ? said("cause", get("cause")) : get("caption") || get("prompt");
    cell.frame.className = "frame " + state;
    cell.words.textContent = sha ? "" : said("state", state);
    cell.image.hidden = !sha;
    const picture = sha && withPicture ? imagebatch.smallCopy("thumbs", sha) : "";
    /* The old picture would stand there until the new one has come; the same one need not come again. */
    if (cell.image.getAttribute("src") !== picture) cell.image.removeAttribute("src");
    if (picture && !cell.image.hasAttribute("src")) cell.image.src = picture;
    const [verdict, isSaving] = imagebatch.review ? imagebatch.review.verdictOf(row) : [get("verdict"), false];
    cell.marks.replaceChildren(...marksOf(get, verdict, isSaving));
    cell.link.setAttribute("aria-current", String(Boolean(imagebatch.review && imagebatch.review.isChosen(row))));
  };

  function marksOf(get, verdict, isSaving) {
    const marks = [];
    if (isSaving) marks.push(el("span", { class: "mark" }, "Saving…"));
    else if (verdict === "accepted" || verdict === "rejected") {
      marks.push(el("span", { class: "mark " + verdict }, said("review", verdict) + (get("side") === "machine" ? " by a machine" : "")));
    }
    const state = get("state");
    if (get("sha") && state !== "done") marks.push(el("span", { class: "mark " + state }, said("state", state)));
    const warnings = String(get("warnings")).split(",").filter(Boolean);
    if (warnings.length) marks.push(el("span", { class: "mark odd" }, said("warnings", warnings[0]) + (warnings.length > 1 ? " +" + (warnings.length - 1) : "")));
    if (get("versions") > 1) marks.push(el("span", { class: "mark" }, get("versions") + " versions"));
    return marks;
  }

  /* One entry. */

  App.prototype.opened = function (index, event) {
    if (imagebatch.review && imagebatch.review.clicked(index, event)) return;
    this.openRow(this.rows[index]);
  };

  App.prototype.openRow = function (row, keepAddress) {
    this.state.job = this.table.get(row, "id");
    if (!keepAddress) this.writeFragment(true);
    this.detail.open(row);
    this.preload(row);
  };

  App.prototype.openJob = function (id) {
    const row = this.table.rowOf(id);
    if (row < 0) return;
    const index = this.rows.indexOf(row);
    if (index >= 0) this.grid.moveTo(index, false);
    this.openRow(row, true);
  };

  App.prototype.step = function (by) {
    const index = this.rows.indexOf(this.detail.row);
    const next = this.rows[index + by];
    if (next === undefined) return false;
    this.grid.moveTo(index + by, false);
    this.state.job = this.table.get(next, "id");
    this.writeFragment();
    this.detail.open(next);
    this.preload(next);
    return true;
  };

  /* The pictures before and after are fetched ahead, so that moving on shows them at once. */
  App.prototype.preload = function (row) {
    const index = this.rows.indexOf(row);
    [1, -1].forEach((by) => {
      const next = this.rows[index + by];
      if (next === undefined) return;
      imagebatch.withDetails(this.table, next, (details) => {
        const version = details && details.versions[details.chosen];
        const picture = version && version.pictures[version.pictures.length - 1];
        if (picture) new Image().src = imagebatch.address(this.base, picture.path);
      });
    });
  };

  App.prototype.placeWords = function () {
    const index = this.rows.indexOf(this.detail.row);
    return index < 0 ? "" : number(index + 1) + " of " + number(this.rows.length);
  };

  App.prototype.detailClosed = function (row) {
    if (imagebatch.review) imagebatch.review.leave(row);
    if (this.state.job) {
      this.state.job = "";
      this.writeFragment();
    }
    const index = this.rows.indexOf(row);
    if (index >= 0) this.grid.moveTo(index);
  };

  /* The fragment. */

  App.prototype.fragment = function (other) {
    const state = Object.assign({}, this.state, other);
    const words = new URLSearchParams();
    if (state.search) words.set("q", state.search);
    if (state.sort !== "order") words.set("sort", state.sort);
    if (state.part) words.set("part", state.part + 1);
    for (const [name, values] of Object.entries(state.filters)) values.forEach((value) => words.append("f." + name, value));
    if (state.job) words.set("job", state.job);
    return words.toString();
  };

  App.prototype.writeFragment = function (asStep) {
    const fragment = "#" + this.fragment();
    if (fragment === (location.hash || "#")) return;
    this.written = fragment;
    if (asStep) location.hash = fragment;
    else location.replace(location.href.split("#")[0] + fragment);
  };

  App.prototype.readFragment = function () {
    const words = new URLSearchParams(location.hash.slice(1));
    const filters = Object.create(null);
    for (const [name, value] of words) {
      if (name.startsWith("f.")) (filters[name.slice(2)] = filters[name.slice(2)] || []).push(value);
    }
    const part = Math.min(this.table.parts(), Math.max(1, Math.floor(Number(words.get("part"))) || 1)) - 1;
    const sort = words.get("sort");
    const known = sort && Object.prototype.hasOwnProperty.call(imagebatch.SORTS, sort);
    this.state = { search: words.get("q") || "", filters, sort: known ? sort : "order", part, job: words.get("job") || "" };
    $("search").value = this.state.search;
    $("sort").value = this.state.sort;
    $("part").value = String(part);
  };

  App.prototype.fragmentChanged = function () {
    if (location.hash === this.written) {
      this.written = "";
      return;
    }
    const part = this.state.part;
    this.readFragment();
    if (this.state.part !== part) {
      this.loadPart();
      return;
    }
    this.refresh({ stay: true });
    this.drawFilters();
    if (this.state.job) this.openJob(this.state.job);
    else if (this.detail.dialog.open) this.detail.dialog.close();
  };

  /* Controls and keys. */

  App.prototype.buildControls = function () {
    $("sort").replaceChildren(...Object.entries(imagebatch.SORTS).map(([name, { label }]) => el("option", { value: name }, label)));
    $("sort").addEventListener("change", () => {
      this.state.sort = $("sort").value;
      this.refresh();
      this.writeFragment();
    });
    this.buildParts();
    let timer = 0;
    $("search").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.setSearch($("search").value), SEARCH_DELAY_MS);
    });
    $("search").addEventListener("keydown", (event) => event.key === "Enter" && this.rows.length && this.grid.moveTo(0));
    $("clear").addEventListener("click", () => this.clear());
    $("open-filters").addEventListener("click", () => this.toggleFilters());
    $("open-help").addEventListener("click", () => this.help());
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault();
      this.grid.moveTo(this.grid.active);
    });
    $("scroller").addEventListener("keydown", (event) => event.target === $("scroller") && this.grid.pressed(event));
  };

  App.prototype.buildParts = function () {
    const parts = this.table.parts();
    $("part").hidden = parts < 2;
    const options = [];
    for (let part = 0; part < parts; part += 1) {
      const [first, end] = this.table.bounds(part);
      options.push(el("option", { value: part }, number(first + 1) + "–" + number(end)));
    }
    $("part").replaceChildren(...options);
    $("part").addEventListener("change", () => {
      this.state.part = Number($("part").value);
      this.writeFragment();
      this.loadPart();
    });
  };

  App.prototype.toggleFilters = function () {
    const open = document.body.classList.toggle("filtering");
    $("open-filters").setAttribute("aria-expanded", String(open));
    const first = open && $("filters").querySelector("summary");
    if (first) first.focus();
  };

  App.prototype.help = function () {
    const dialog = $("help");
    const keys = this.keys.map(([key, words]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, words)]);
    const close = el("button", { type: "button", onclick: () => dialog.close() }, "Close");
    dialog.replaceChildren(el("h2", { id: "help-title" }, "Keys"), el("dl", {}, keys), close);
    dialog.showModal();
  };

  App.prototype.pressed = function (event) {
    if (event.altKey || event.ctrlKey || event.metaKey || imagebatch.isTyping(event.target)) return;
    if (event.key === "?") this.help();
    else if (this.detail.dialog.open || $("help").open) return;
    else if (event.key === "/") $("search").focus();
    else if (event.key.toLowerCase() === "f") this.toggleFilters();
    else return;
    event.preventDefault();
  };

  /* What data scripts call. */
  imagebatch.take = function (kind, place, value) {
    if (kind === "index") {
      imagebatch.app = new App(value);
      imagebatch.app.start();
    } else if (kind === "rows") {
      imagebatch.app.table.takeRows(place, value);
    } else if (kind === "details") {
      imagebatch.app.table.takeDetails(place, value);
    }
  };
})();
