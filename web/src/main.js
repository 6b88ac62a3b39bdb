import './style.css';
import {App} from './app.js';
import {EmbeddedSource} from './data/embedded.js';
import {FetchSource} from './data/fetch.js';
import {apply} from './theme.js';

apply();

async function start() {
  const data = document.getElementById('veneer-data');
  const source = data ? await EmbeddedSource.read(data.textContent ?? '') : new FetchSource();
  document.body.replaceChildren(); // the tables for whoever has no script
  new App(source, document.body).start();
}

start();
