/* The rows, as data scripts hand them over: chunks of columns. A column is a list of values, or the few different values
   (`of`) and an index per row (`at`). */
(function () {
  "use strict";
  const imagebatch = (window.imagebatch = window.imagebatch || {});
  function Table(facts) {
    this.facts = facts;
    this.total = facts.total;
    this.chunks = [];
    this.details = {};
    this.texts = [];
    this.facets = [];
    this.versions = 0;
    this.rowsById = null;
  }

  Table.prototype.parts = function () {
    return Math.max(1, Math.ceil(this.total / this.facts.rowsPerPart));
  };

  /* A page holds so many rows at once; more are shown in parts. First row of a part, and the one after its last. */
  Table.prototype.bounds = function (part) {
    const size = this.facts.rowsPerPart;
    return [part * size, Math.min(this.total, (part + 1) * size)];
  };

  /* Numbers of the chunks that hold a part. */
  Table.prototype.chunksOf = function (part) {
    const size = this.facts.rowsPerChunk;
    const [first, end] = this.bounds(part);
    const numbers = [];
    for (let number = Math.floor(first / size); number * size < end; number += 1) numbers.push(number);
    return numbers;
  };

  Table.prototype.takeRows = function (number, columns) {
    this.chunks[number] = columns;
    this.forgetFound(number);
  };

  /* What was worked out from a chunk holds no longer. */
  Table.prototype.forgetFound = function (number) {
    delete this.texts[number];
    delete this.facets[number];
    this.versions += 1;
    this.rowsById = null;
  };

  Table.prototype.dropAllBut = function (numbers) {
    const kept = new Set(numbers);
    for (let number = 0; number < this.chunks.length; number += 1) {
      if (this.chunks[number] && !kept.has(number)) {
        delete this.chunks[number];
        this.forgetFound(number);
      }
    }
    this.details = {};
  };

  Table.prototype.takeDetails = function (number, list) {
    const first = number * this.facts.rowsPerDetails;
    list.forEach((details, index) => {
      if (!(first + index in this.details)) this.details[first + index] = whole(details);
    });
  };

  Table.prototype.has = function (row) {
    return Boolean(this.chunks[Math.floor(row / this.facts.rowsPerChunk)]);
  };

  Table.prototype.get = function (row, name) {
    const size = this.facts.rowsPerChunk;
    const chunk = this.chunks[Math.floor(row / size)];
    return chunk ? valueOf(chunk[name], row % size) : "";
  };

  Table.prototype.set = function (row, name, value) {
    const size = this.facts.rowsPerChunk;
    const number = Math.floor(row / size);
    const chunk = (this.chunks[number] = this.chunks[number] || {});
    const column = (chunk[name] = chunk[name] || { of: [""], at: [] });
    if (Array.isArray(column)) {
      column[row % size] = value;
    } else {
      let index = column.of.indexOf(value);
      if (index < 0) index = column.of.push(value) - 1;
      column.at[row % size] = index;
    }
    delete this.facets[number];
    this.versions += 1;
  };

  /* A row that is new or has changed, with its details. Returns its number; -1 if it is in a part that is not loaded. */
  Table.prototype.put = function (row, details, position) {
    const known = this.rowOf(row.id);
    if (known < 0 && position < this.facts.total && !this.has(position)) return -1;
    const at = known < 0 ? this.total : known;
    const number = Math.floor(at / this.facts.rowsPerChunk);
    this.total = Math.max(this.total, at + 1);
    const names = new Set([...Object.keys(this.chunks[number] || {}), ...Object.keys(row)]);
    names.forEach((name) => this.set(at, name, name in row ? row[name] : ""));
    this.details[at] = whole(details);
    delete this.texts[number];
    if (this.rowsById) this.rowsById.set(row.id, at);
    return at;
  };

  /* The number of the row with this id among those that are loaded, or -1. */
  Table.prototype.rowOf = function (id) {
    if (!this.rowsById) {
      this.rowsById = new Map();
      this.eachChunk((chunk, first, length) => {
        for (let index = 0; index < length; index += 1) this.rowsById.set(valueOf(chunk.id, index), first + index);
      });
    }
    return this.rowsById.has(id) ? this.rowsById.get(id) : -1;
  };

  /* Calls use(chunk, its first row, how many rows, its number) for every loaded chunk, in order. */
  Table.prototype.eachChunk = function (use) {
    const size = this.facts.rowsPerChunk;
    this.chunks.forEach((chunk, number) => {
      if (chunk) use(chunk, number * size, Math.min(size, this.total - number * size), number);
    });
  };

  /* Details leave out what is empty. */
  const DETAILS = { versions: [], chosen: 0, references: [], attempts: [], failure: null, cost: 0, maybe: 0 };
  const VERSION = { caption: "", warnings: [], prompt: "", references: [], lane: "", parameters: [], adopted: "", source: "" };
  const PICTURE = { width: 0, height: 0, bytes: 0, verdict: "", side: "", reasons: "", note: "", by: "", seen: false };

  function whole(told) {
    const details = Object.assign({}, DETAILS, told);
    details.versions = details.versions.map((version) => {
      const pictures = (version.pictures || []).map((picture) => Object.assign({}, PICTURE, picture));
      return Object.assign({}, VERSION, version, { pictures });
    });
    return details;
  }

  function valueOf(column, index) {
    if (column === undefined) return "";
    const value = Array.isArray(column) ? column[index] : column.of[column.at[index]];
    return value === undefined ? "" : value;
  }

  /* Loads a script of the gallery; calls back with whether it came. */
  function load(path, then) {
    const script = document.createElement("script");
    script.onload = () => then(true);
    script.onerror = () => then(false);
    script.src = path;
    document.head.appendChild(script);
    script.remove();
  }

  imagebatch.Table = Table;
  imagebatch.valueOf = valueOf;
  imagebatch.load = load;
})();
