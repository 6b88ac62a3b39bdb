import './style.css';
import {App} from './app.js';
import {EmbeddedSource} from './data/embedded.js';
import {FetchSource} from './data/fetch.js';
import {apply} from './theme.js';

apply();

async function start() {
  const carried = [...document.querySelectorAll('script[type="application/octet-stream"]')].map((each) => each.textContent ?? '');
  const source = carried.length ? await EmbeddedSource.read(carried) : new FetchSource();
  const root = document.getElementById('veneer') ?? document.body;
  root.replaceChildren(); // the tables for whoever has no script
  const app = new App(source, root);
  app.verdicts = [...document.querySelectorAll('.verdict > section')];
  document.querySelector('.plain.verdict')?.remove();
  if (source instanceof EmbeddedSource && source.found.size === 1 && !location.hash) {
    location.replace(app.router.href('image', [...source.found.keys()][0]));
  }
  app.start();
}

start();
