/* Which rows match a search and filters, and in what order. Knows no page. */
(function () {
  "use strict";
  const imagebatch = window.imagebatch;
  const valueOf = imagebatch.valueOf;
  /* A column with more different values is searched, not offered as a filter. */
  const MOST_VALUES = 30;

  /* Facets that need more than the values of one column as they are. */
  const DERIVED = {
    review(chunk, index) {
      if (!valueOf(chunk.sha, index)) return "";
      /* What a machine has judged, a person may not have seen yet. */
      const isSeen = valueOf(chunk.seen, index) === true;
      const verdict = valueOf(chunk.verdict, index);
      const judged = verdict === "accepted" || verdict === "rejected";
      return (judged ? verdict + "," : "") + (isSeen ? (judged ? "" : "seen") : "unseen");
    },
    changed(chunk, index) {
      return valueOf(chunk.versions, index) > 1 ? "several" : "";
    },
    drawn(chunk, index) {
      return valueOf(chunk.simulated, index) === true ? "simulated" : "";
    },
  };

  function facetsOf(table) {
    const given = [
      { name: "state", label: "State" },
      { name: "review", label: "Review", many: true },
      { name: "side", label: "Judged by" },
      { name: "cause", label: "Cause" },
      { name: "warnings", label: "Not as asked", many: true },
      { name: "reasons", label: "Reason", many: true },
      { name: "changed", label: "Versions" },
      { name: "drawn", label: "Origin" },
      { name: "model", label: "Model" },
      { name: "endpoint", label: "Endpoint" },
    ];
    const columns = table.facts.columns.map((name) => ({ name, label: name.slice(2), own: true }));
    return given.concat(columns);
  }

  /* The values of a facet in one chunk: `of` lists of values, `at` an index per row. Worked out once. */
  function facetColumn(table, facet, chunk, length, number) {
    const known = (table.facets[number] = table.facets[number] || {});
    if (!known[facet.name]) known[facet.name] = worked(facet, chunk, length);
    return known[facet.name];
  }

  function worked(facet, chunk, length) {
    const derive = DERIVED[facet.name];
    const column = chunk[facet.name];
    if (!derive && column && !Array.isArray(column) && !facet.many) {
      return { of: column.of.map((value) => [value]), at: column.at };
    }
    const numbers = new Map();
    const of = [];
    const at = new Array(length);
    for (let index = 0; index < length; index += 1) {
      const value = derive ? derive(chunk, index) : valueOf(column, index);
      if (!numbers.has(value)) {
        numbers.set(value, of.length);
        of.push(facet.many ? String(value).split(",") : [value]);
      }
      at[index] = numbers.get(value);
    }
    return { of, at };
  }

  /* How many rows have each value of a facet: a Map, or null if there are too many values to list. */
  function countsOf(table, facet) {
    const counts = new Map();
    let listed = true;
    table.eachChunk((chunk, first, length, number) => {
      if (!listed) return;
      const { of, at } = facetColumn(table, facet, chunk, length, number);
      const numbers = new Array(of.length).fill(0);
      for (let index = 0; index < length; index += 1) numbers[at[index] || 0] += 1;
      of.forEach((values, index) => {
        if (!numbers[index]) return;
        values.forEach((value) => {
          if (value !== "") counts.set(value, (counts.get(value) || 0) + numbers[index]);
        });
      });
      listed = counts.size <= MOST_VALUES;
    });
    return listed ? counts : null;
  }

  /* Lower-cased text of every row of a chunk. */
  function textsOf(table, chunk, length, number) {
    if (table.texts[number]) return table.texts[number];
    const names = ["id", "prompt", "caption", "note"].concat(table.facts.columns.filter((name) => name.startsWith("c.")));
    const texts = new Array(length);
    for (let index = 0; index < length; index += 1) {
      let text = "";
      for (const name of names) {
        const value = valueOf(chunk[name], index);
        if (value !== "") text += value + "\n";
      }
      texts[index] = text.toLowerCase();
    }
    table.texts[number] = texts;
    return texts;
  }

  /* Words of a search; what stands between quotation marks is one. */
  function wordsOf(search) {
    const words = [];
    search.toLowerCase().replace(/"([^"]*)"?|\S+/g, (word, quoted) => {
      const text = quoted === undefined ? word : quoted;
      if (text) words.push(text);
      return "";
    });
    /* Long words are rare, so that most rows need no second look. */
    return words.sort((a, b) => b.length - a.length);
  }

  /* Row numbers that match, as a list in the order asked for. query: {search, filters: {name: [value]}, sort}. */
  function find(table, query) {
    const words = wordsOf(query.search || "");
    const facets = facetsOf(table).filter((facet) => (query.filters[facet.name] || []).length);
    const found = [];
    table.eachChunk((chunk, first, length, number) => {
      const tests = facets.map((facet) => test(table, facet, query.filters[facet.name], chunk, length, number));
      const texts = words.length ? textsOf(table, chunk, length, number) : null;
      for (let index = 0; index < length; index += 1) {
        if (passes(tests, index) && (!texts || holds(texts[index], words))) found.push(first + index);
      }
    });
    return sorted(table, found, query.sort);
  }

  function test(table, facet, wanted, chunk, length, number) {
    const { of, at } = facetColumn(table, facet, chunk, length, number);
    const allowed = of.map((values) => values.some((value) => wanted.includes(String(value))));
    return (index) => allowed[at[index] || 0];
  }

  function passes(tests, index) {
    for (const each of tests) if (!each(index)) return false;
    return true;
  }

  function holds(text, words) {
    for (const word of words) if (!text.includes(word)) return false;
    return true;
  }

  const SORTS = {
    order: { label: "Manifest order" },
    id: { label: "Id", name: "id", up: true },
    newest: { label: "Newest first", name: "at", up: false },
    cost: { label: "Cost, highest first", name: "cost", up: false },
    attempts: { label: "Most attempts first", name: "attempts", up: false },
    state: { label: "State", name: "state", up: true },
  };

  function sorted(table, rows, name) {
    const sort = SORTS[name];
    if (!sort || !sort.name) return rows;
    const keys = rows.map((row) => table.get(row, sort.name));
    const order = rows.map((_, index) => index);
    const sign = sort.up ? 1 : -1;
    order.sort((a, b) => (keys[a] < keys[b] ? -sign : keys[a] > keys[b] ? sign : a - b));
    return order.map((index) => rows[index]);
  }

  imagebatch.find = find;
  imagebatch.facetsOf = facetsOf;
  imagebatch.countsOf = countsOf;
  imagebatch.textsOf = textsOf;
  imagebatch.wordsOf = wordsOf;
  imagebatch.SORTS = SORTS;
})();
