/* One entry: its picture on the stage, its versions below, and everything that is known of it beside. */
(function () {
  "use strict";
  const imagebatch = window.imagebatch;
  const { el, said, money, size, moment, text } = imagebatch;

  /* page: {table, base, step(by), closed(), place()}: where the rows are, and what moving on and closing do. */
  function Detail(dialog, page) {
    this.dialog = dialog;
    this.page = page;
    this.row = -1;
    this.stage = new imagebatch.Stage();
    this.mode = "side";
    this.full = false;
    this.build();
    dialog.addEventListener("close", () => this.closed());
    dialog.addEventListener("keydown", (event) => this.pressed(event));
  }

  Detail.prototype.build = function () {
    const button = (words, label, onclick) => el("button", { type: "button", "aria-label": label, onclick }, words);
    this.title = el("h2", { id: "detail-title", class: "foreign", dir: "auto", tabindex: "-1", autofocus: true });
    this.where = el("span", { class: "where" });
    this.with = el("select", { id: "compare-with" });
    this.with.addEventListener("change", () => this.showPictures());
    this.modes = Object.entries(imagebatch.MODES).map(([mode, words]) =>
      el("button", { type: "button", "data-mode": mode, "aria-pressed": "false", onclick: () => this.setMode(mode) }, words),
    );
    this.modeGroup = el("div", { class: "modes", role: "group", "aria-label": "How to compare" }, this.modes);
    this.fullButton = el("button", { type: "button", "aria-pressed": "false", onclick: () => this.setFull(!this.full) }, "100 %");
    this.original = el("a", { class: "original", target: "_blank", rel: "noopener" }, "Open the file");
    this.withLabel = el("label", { for: "compare-with" }, "Compare with ", this.with);
    this.strip = el("div", { class: "strip", role: "group", "aria-label": "Versions" });
    this.actions = el("div", { class: "actions" });
    this.facts = el("div", { class: "facts", tabindex: "0", role: "region", "aria-label": "About this picture" });
    this.dialog.replaceChildren(
      el(
        "div",
        { class: "detail-bar" },
        this.title,
        this.where,
        button("‹", "Previous", () => this.page.step(-1)),
        button("›", "Next", () => this.page.step(1)),
        button("×", "Close", () => this.dialog.close()),
      ),
      el(
        "div",
        { class: "detail-body" },
        el(
          "div",
          { class: "show" },
          this.stage.element,
          el("div", { class: "stage-tools" }, this.withLabel, this.modeGroup, this.fullButton, this.original),
          this.strip,
          this.actions,
        ),
        this.facts,
      ),
    );
  };

  Detail.prototype.open = function (row) {
    const isOther = row !== this.row;
    this.row = row;
    if (isOther) {
      this.version = -1;
      this.sample = -1;
      this.facts.scrollTop = 0;
    }
    this.title.textContent = this.page.table.get(row, "id");
    this.where.textContent = this.page.place();
    if (!this.dialog.open) this.dialog.showModal();
    imagebatch.withDetails(this.page.table, row, (details) => {
      if (row === this.row) this.fill(details);
    });
  };

  Detail.prototype.fill = function (details) {
    this.details = details;
    const versions = details ? details.versions : [];
    if (this.version < 0 || this.version >= versions.length) {
      this.version = details && details.chosen >= 0 ? details.chosen : versions.length - 1;
    }
    this.fillChoices();
    this.fillStrip();
    this.showPictures();
    this.fillFacts();
    this.page.shown(this.row, this);
  };

  /* The version on the stage; null if there is none. */
  Detail.prototype.shownVersion = function () {
    return (this.details && this.details.versions[this.version]) || null;
  };

  Detail.prototype.shownPicture = function () {
    const version = this.shownVersion();
    if (!version || !version.pictures.length) return null;
    return version.pictures[this.sample] || version.pictures[version.pictures.length - 1];
  };

  Detail.prototype.fillChoices = function () {
    const source = this.shownVersion() || this.details || { references: [] };
    const options = [el("option", { value: "" }, "nothing")];
    (source.references || []).forEach((reference, index) => {
      options.push(text("option", "Reference: " + reference.name));
      options[options.length - 1].value = "r" + index;
    });
    const versions = this.details ? this.details.versions : [];
    versions.forEach((version, index) => {
      if (index !== this.version) options.push(el("option", { value: "v" + index }, versionName(version)));
    });
    const wanted = this.with.value;
    this.with.replaceChildren(...options);
    this.withLabel.hidden = options.length < 2;
    const hasWanted = options.some((option) => option.value === wanted);
    const isFirst = this.filled !== this.row;
    this.filled = this.row;
    if (!isFirst && hasWanted) this.with.value = wanted;
    else this.with.value = options.length > 1 && options[1].value === "r0" ? "r0" : "";
  };

  Detail.prototype.showPictures = function () {
    const picture = this.shownPicture();
    const version = this.shownVersion();
    const label = version ? (this.details.versions.length > 1 ? versionName(version) : "Result") : "No picture";
    const id = this.page.table.get(this.row, "id");
    const failed = this.details && this.details.failure ? said("cause", this.details.failure.code) : "There is no picture.";
    const result = picture
      ? { src: imagebatch.address(this.page.base, picture.path), alt: this.page.table.get(this.row, "caption") || "Picture of " + id, label, missing: "The file cannot be shown." }
      : { src: "", alt: "", label, missing: failed };
    const second = this.secondPicture();
    this.stage.show(result, second);
    this.modeGroup.hidden = !second;
    this.fullButton.hidden = !picture;
    this.original.hidden = !picture;
    if (picture) this.original.href = result.src;
    this.setMode(this.mode);
    this.setFull(this.full);
  };

  Detail.prototype.secondPicture = function () {
    const [kind, index] = [this.with.value[0], Number(this.with.value.slice(1))];
    const source = this.shownVersion() || this.details;
    if (kind === "r" && source && source.references[index]) {
      const { name, sha } = source.references[index];
      const missing = "The reference's file is not here any more, or it has changed.";
      return { src: sha ? imagebatch.smallCopy("references", sha) : "", alt: "Reference " + name, label: "Reference: " + name, missing };
    }
    const other = kind === "v" && this.details.versions[index];
    if (!other || !other.pictures.length) return null;
    const picture = other.pictures[other.pictures.length - 1];
    const label = versionName(other);
    return { src: imagebatch.address(this.page.base, picture.path), alt: label, label };
  };

  Detail.prototype.fillStrip = function () {
    const items = [];
    const versions = this.details ? this.details.versions : [];
    versions.forEach((version, index) => {
      version.pictures.forEach((picture, sample) => {
        const isLast = sample === version.pictures.length - 1;
        const words = versionName(version) + (isLast ? "" : ", picture " + (sample + 1));
        const chosen = index === this.version && picture === this.shownPicture();
        const image = el("img", { src: imagebatch.smallCopy("thumbs", picture.sha), alt: "", loading: "lazy" });
        const mark = picture.verdict ? el("span", { class: "mark " + picture.verdict }, said("review", picture.verdict)) : null;
        const pick = () => this.pick(index, sample);
        items.push(el("button", { type: "button", class: "thumb", "aria-pressed": String(chosen), onclick: pick }, image, el("span", {}, words), mark));
      });
    });
    this.strip.replaceChildren(...(items.length > 1 ? items : []));
    this.strip.hidden = items.length < 2;
  };

  Detail.prototype.pick = function (version, sample) {
    this.version = version;
    this.sample = sample;
    this.fill(this.details);
  };

  /* Two versions beside each other: the one on the stage, and the one before it. */
  Detail.prototype.compareVersions = function () {
    const count = this.details ? this.details.versions.length : 0;
    if (count < 2) return;
    const other = this.version > 0 ? this.version - 1 : 1;
    this.with.value = this.with.value === "v" + other ? "" : "v" + other;
    this.showPictures();
  };

  Detail.prototype.setMode = function (mode) {
    if (mode === "toggle" && this.mode === "toggle" && this.stage.second && this.isTurning) this.stage.turn();
    this.mode = mode;
    if (this.stage.mode !== mode) this.stage.setMode(mode);
    this.modes.forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.mode === mode)));
  };

  Detail.prototype.setFull = function (full) {
    this.full = full;
    this.stage.setFull(full);
    this.fullButton.setAttribute("aria-pressed", String(full));
  };

  Detail.prototype.pressed = function (event) {
    if (event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
    const scrolls = this.full && event.target.closest(".box");
    const keys = {
      ArrowLeft: () => !scrolls && (this.page.step(-1), true),
      ArrowRight: () => !scrolls && (this.page.step(1), true),
      z: () => (this.setFull(!this.full), true),
      c: () => (this.compareVersions(), true),
      t: () => this.stage.second && (this.setMode("toggle"), this.stage.turn(), true),
    };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.key !== "Shift" && keys[key] && keys[key]()) event.preventDefault();
  };

  function isTyping(element) {
    return ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName);
  }

  Detail.prototype.closed = function () {
    const row = this.row;
    this.row = -1;
    this.details = null;
    this.page.closed(row);
  };

  Detail.prototype.fillFacts = function () {
    const { table } = this.page;
    const details = this.details;
    const version = this.shownVersion();
    const source = version || details || {};
    const picture = this.shownPicture();
    const parts = [this.badges(version, picture), this.failure()];
    parts.push(section("Prompt", text("p", source.prompt || table.get(this.row, "prompt"), "prompt")));
    const isChosen = details && this.version === details.chosen;
    const caption = version && (isChosen ? table.get(this.row, "caption") : version.caption);
    parts.push(section("Caption", caption ? text("p", caption, "prompt") : null));
    const cells = table.facts.columns.filter((name) => name.startsWith("c.")).map((name) => [imagebatch.columnLabel(name), table.get(this.row, name)]);
    parts.push(section("Row", pairs(cells)));
    parts.push(section("Made with", pairs(this.settings(version))));
    parts.push(section("References", list((source.references || []).map((reference) => text("span", reference.name)))));
    parts.push(section("Attempts", this.attempts()));
    this.facts.replaceChildren(...parts.filter(Boolean));
  };

  Detail.prototype.badges = function (version, picture) {
    const { table } = this.page;
    const state = table.get(this.row, "state");
    const badges = [el("span", { class: "badge " + state }, said("state", state))];
    if (picture && picture.verdict) badges.push(el("span", { class: "badge " + picture.verdict }, said("review", picture.verdict) + (picture.side === "machine" ? " by a machine" : "")));
    if (version && version.simulated) badges.push(el("span", { class: "badge simulated" }, "Drawn by the simulator"));
    const details = this.details || {};
    if (details.unlisted) badges.push(el("span", { class: "badge pending" }, "Not in the manifest any more"));
    if (details.settled) badges.push(el("span", { class: "badge pending" }, "Accepted as it is by a person"));
    const notes = [];
    if (picture && picture.reasons) notes.push(text("p", "Reasons: " + picture.reasons.split(",").join(", "), "note"));
    if (picture && picture.note) notes.push(text("p", picture.note, "note"));
    for (const [kind, words] of version ? version.warnings : []) {
      notes.push(el("p", { class: "warning" }, el("strong", {}, said("warnings", kind) + ". "), text("span", words)));
    }
    return el("div", { class: "badges" }, badges, notes);
  };

  Detail.prototype.failure = function () {
    const failure = this.details && this.details.failure;
    if (!failure) return null;
    return el(
      "div",
      { class: "failure" },
      text("h3", said("cause", failure.code) + (failure.status ? " (HTTP " + failure.status + ")" : "")),
      text("p", failure.message),
      failure.advice ? el("p", { class: "advice" }, el("strong", {}, "What to do: "), text("span", failure.advice)) : null,
    );
  };

  Detail.prototype.settings = function (version) {
    const { table } = this.page;
    const details = this.details;
    const picture = this.shownPicture();
    const of = (name) => (version ? version[name] : table.get(this.row, name));
    const facts = [["Model", of("model")], ["Endpoint", of("endpoint")]];
    if (version && version.lane) facts.push(["Lane", version.lane]);
    const asked = table.facts.columns.filter((name) => name.startsWith("p.")).map((name) => [name.slice(2), table.get(this.row, name)]);
    facts.push(...(version ? version.parameters : asked).map(([name, value]) => [name.replace(/_/g, " "), value]));
    if (picture) facts.push(["Picture", picture.width + " × " + picture.height + ", " + size(picture.bytes)], ["File", picture.path]);
    if (version) facts.push(["Made", moment(version.at)]);
    if (version && version.adopted) facts.push(["Taken over from", version.adopted]);
    if (details) facts.push(["Cost", money(details.cost) + (version && version.simulated ? " in play money" : "")]);
    if (details && details.maybe > 0) facts.push(["Maybe also paid", money(details.maybe)]);
    return facts;
  };

  Detail.prototype.attempts = function () {
    const attempts = this.details ? this.details.attempts : [];
    if (!attempts.length) return null;
    return el(
      "ol",
      { class: "attempts" },
      attempts.map((attempt) => {
        const words = [attempt.outcome, attempt.seconds ? attempt.seconds + " s" : "", attempt.cost ? money(attempt.cost) : "", attempt.paid === "maybe" ? "maybe paid" : ""];
        const message = attempt.code ? said("cause", attempt.code) + (attempt.message ? ": " + attempt.message : "") : attempt.message;
        return el("li", {}, el("span", { class: "outcome" }, words.filter(Boolean).join(" · ")), el("span", { class: "when" }, moment(attempt.at)), message ? text("span", message, "message") : null);
      }),
    );
  };

  function section(title, content) {
    return content ? el("section", {}, el("h3", {}, title), content) : null;
  }

  function pairs(facts) {
    const shown = facts.filter(([, value]) => value !== "" && value !== undefined && value !== null);
    return shown.length ? el("dl", {}, shown.map(([name, value]) => [text("dt", name), text("dd", value)])) : null;
  }

  function list(items) {
    return items.length ? el("ul", {}, items.map((item) => el("li", {}, item))) : null;
  }

  /* Calls back with the details of a row, loading them if they are not here; null if they cannot be loaded. */
  function withDetails(table, row, then) {
    if (row in table.details) return then(table.details[row]);
    const file = table.facts.details[Math.floor(row / table.facts.rowsPerDetails)];
    if (!file) return then(null);
    return imagebatch.load(file, () => then(table.details[row] || null));
  }

  /* Where two outputs are compared, a version is named by its output. */
  function versionName(version) {
    return version.source || "Version " + version.number;
  }

  imagebatch.withDetails = withDetails;
  imagebatch.versionName = versionName;
  imagebatch.isTyping = isTyping;
  imagebatch.Detail = Detail;
})();
