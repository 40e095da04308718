// The search of the pages, over the index that Doxygen writes to search/. Names that contain what is
// typed, those that begin with it first; by mouse or with the arrows and Enter.
'use strict';

// Doxygen's script would be made here by each page; this one takes its place.
function SearchBox() {}

(() => {
  const shown = 30;
  const text = (html) => new DOMParser().parseFromString(html, 'text/html').body.textContent;
  let index = null;  // promise of [{name, scope, url}]

  function load(file) {
    return new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = file;
      script.onload = resolve;
      script.onerror = () => reject(new Error(file + ' is missing'));
      document.head.append(script);
    });
  }

  // Each file of the index sets the one variable searchData.
  async function read(root) {
    await load(root + 'search/searchdata.js');
    const all = [];
    for (let n = 0; n < indexSectionsWithContent[0].length; ++n) {
      await load(root + 'search/' + indexSectionNames[0] + '_' + n.toString(16) + '.js');
      for (const [, [name, ...places]] of searchData)
        for (const [url, , scope] of places)
          all.push({name: text(name), scope: text(scope || ''), url: root + url.replace(/^\.\.\//, '')});
    }
    return all;
  }

  function found(all, typed) {
    const wanted = typed.trim().toLowerCase();
    if (!wanted) return [];
    const rank = ({name, scope}) => {
      const at = name.toLowerCase().indexOf(wanted);
      if (at === 0) return name.length === wanted.length ? 0 : 1;
      if (at > 0) return 2;
      return scope.toLowerCase().includes(wanted) ? 3 : 4;
    };
    return all.map((entry) => ({entry, rank: rank(entry)}))
        .filter(({rank}) => rank < 4)
        .sort((a, b) => a.rank - b.rank || a.entry.name.length - b.entry.name.length ||
                        a.entry.name.localeCompare(b.entry.name))
        .map(({entry}) => entry);
  }

  document.addEventListener('DOMContentLoaded', () => {
    const field = document.getElementById('search');
    const answers = document.getElementById('answers');
    const root = document.getElementById('home').getAttribute('href').replace(/index\.html$/, '');

    function show(entries) {
      answers.replaceChildren(...entries.slice(0, shown).map(({name, scope, url}) => {
        const link = document.createElement('a');
        link.href = url;
        link.append(name);
        if (scope && scope !== name) {
          const where = document.createElement('small');
          where.append(scope);
          link.append(' ', where);
        }
        return link;
      }));
      if (entries.length > shown)
        answers.append(`and ${entries.length - shown} more`);
      else if (!entries.length && field.value.trim())
        answers.append('nothing has that name');
      answers.hidden = !field.value.trim();
    }

    async function search() {
      index ??= read(root);
      try {
        show(found(await index, field.value));
      } catch (error) {
        answers.hidden = false;
        answers.replaceChildren(error.message);
      }
    }

    field.addEventListener('input', search);
    field.addEventListener('focus', search);
    document.addEventListener('keydown', (event) => {
      const places = [field, ...answers.querySelectorAll('a')];
      const at = places.indexOf(document.activeElement);
      if (event.key === '/' && at < 0) {
        event.preventDefault();
        field.focus();
      } else if (event.key === 'Escape' && at >= 0) {
        answers.hidden = true;
        field.blur();
      } else if (at >= 0 && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
        event.preventDefault();
        const to = at + (event.key === 'ArrowDown' ? 1 : -1);
        if (to >= 0 && to < places.length) places[to].focus();
      } else if (event.key === 'Enter' && at === 0) {
        answers.querySelector('a')?.click();
      }
    });
    document.addEventListener('click', (event) => {
      if (!event.target.closest('#answers, #search')) answers.hidden = true;
    });
  });
})();
