/** The page as a whole: header, what the address asks for, help; and what all pages share. */

import {html, nothing, render} from 'lit-html';
import {Asked} from './data/asked.js';
import {Router} from './router.js';
import {trouble} from './parts/trouble.js';
import {find, open} from './parts/find.js';
import {help, keys} from './parts/help.js';
import {copied} from './parts/copy.js';
import {lens, linked, mark} from './parts/icons.js';
import {current, next} from './theme.js';
import {compare} from './pages/compare.js';
import {diff} from './pages/diff.js';
import {history} from './pages/history.js';
import {image} from './pages/image.js';
import {images} from './pages/images.js';
import {layer} from './pages/layer.js';

const PAGES = {images, image, compare, history, diff, layer};

export class App {
  /** @param {DataSource} source @param {HTMLElement} root */
  constructor(source, root) {
    this.source = source;
    this.root = root;
    this.asked = new Asked(() => this.redraw());
    this.router = new Router(source.embedded, (elsewhere) => {
      this.redraw();
      if (elsewhere) document.getElementById('page')?.focus({preventScroll: true}); // else it would be on what is no longer there
    });
    /** @type {Map<string, any>} what a page remembers that is no choice: what is open, where the focus is */
    this.memories = new Map();
    /** @type {Map<string, () => void>} single keys of what is on the page now */
    this.keys = new Map();
    /** @type {(() => void)[]} to be done when drawn */
    this.after = [];
    this.said = '';
    /** @type {Element[]} what rules say of a report's images, in their order */
    this.verdicts = [];
    this.drawing = false;
  }

  start() {
    document.addEventListener('click', (event) => this.#follow(event));
    document.addEventListener('keydown', (event) => keys(this, event));
    addEventListener('resize', () => this.redraw());
    addEventListener('online', () => this.asked.retry());
    this.source.watch(() => this.asked.forget());
    this.redraw();
  }

  /** What is remembered under a name as long as the page is open. @template T @param {string} name @param {() => T} make @returns {T} */
  memory(name, make) {
    if (!this.memories.has(name)) this.memories.set(name, make());
    return this.memories.get(name);
  }

  redraw() {
    if (this.drawing) return;
    this.drawing = true;
    queueMicrotask(() => {
      this.drawing = false;
      this.#draw();
    });
  }

  /** Told to whoever listens to the page. @param {string} text */
  say(text) {
    this.said = text;
    this.redraw();
  }

  /** @param {MouseEvent} event */
  #follow(event) {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const link = event.target instanceof Element ? event.target.closest('a[href]') : null;
    const href = link?.getAttribute('href') ?? '';
    if (!link || link.hasAttribute('download') || link.getAttribute('target') || this.source.embedded) return;
    if (!/^\/($|[?]|i\/|l\/|compare|history|diff)/.test(href)) return;
    event.preventDefault();
    this.router.go(href);
  }

  #draw() {
    const {route} = this.router;
    this.keys.clear();
    let body;
    let title = 'veneer';
    const draw = PAGES[/** @type {keyof typeof PAGES} */ (route.page)];
    if (draw) ({title, body} = draw(this));
    else body = trouble(new Error(`There is no page ${route.ref}.`), 'All images are on the first page.', this.router.href('images'));
    document.title = title;
    render(html`
      <a class="skip" href="#page" @click=${skip}>Skip to the page</a>
      <header class="top">
        <a class="brand" href=${this.router.href('images')} aria-label="veneer, all images">${mark()}<span>veneer</span></a>
        <nav aria-label="Pages">
          ${this.#link('images', 'Images')}${this.#link('compare', 'Compare')}
        </nav>
        <span class="grow"></span>
        <button class="quiet find" @click=${() => this.find()} aria-haspopup="dialog" aria-label="Find" title="Find an image, a layer, a file (/)">${lens()} <span>Find</span> <kbd>/</kbd></button>
        <button class="quiet" @click=${() => copied(this, location.href)} aria-label="Copy the link to this view" title="Copy the link to this view">${linked()}</button>
        <button class="quiet theme" @click=${() => this.#theme()} aria-label=${`Theme: ${current()}`} title="Theme: auto, light, dark">◐ <span>${current()}</span></button>
        <button class="quiet" @click=${() => this.ask()} aria-haspopup="dialog" title="Keys (?)" aria-label="Keys and help">?</button>
      </header>
      <main id="page" tabindex="-1" aria-busy=${this.asked.pending ? 'true' : 'false'}>${body}</main>
      ${help()}${find(this)}
      <div class="sr" role="status" aria-live="polite">${this.said || nothing}</div>`, this.root);
    const after = this.after;
    this.after = [];
    for (const each of after) each();
  }

  /** @param {string} page @param {string} label */
  #link(page, label) {
    const here = this.router.route.page === page;
    return html`<a href=${this.router.href(page)} aria-current=${here ? 'page' : nothing}>${label}</a>`;
  }

  #theme() {
    this.say(`Theme: ${next()}`);
  }

  find() {
    open(this);
  }

  ask() {
    const dialog = document.getElementById('help');
    if (dialog instanceof HTMLDialogElement) dialog.showModal();
  }
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById('page')?.focus();
}
