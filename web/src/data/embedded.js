/** Images that this page carries with it. */

/** @implements {DataSource} */
export class EmbeddedSource {
  embedded = true;
}
