export type ImageReference = { name: string; tag: string | null; digest: string | null };

const MAX_NAME = 255;
const HOST =
  '(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\\[[0-9A-Fa-f:]+\\])(?::\\d{1,5})?';
const PART = '[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*';
const REFERENCE = new RegExp(
  `^(?<name>(?:${HOST}/)?${PART}(?:/${PART})*)(?::(?<tag>\\w[\\w.-]{0,127}))?(?:@(?<digest>[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$`,
);

/** "registry.example:5000/team/app:1.2@sha256:…" in its parts, as registries read it; null for what is no reference. */
export function parseImageReference(text: string): ImageReference | null {
  // Nothing longer can be one, and the pattern looks twice at each part of a host.
  if (text.length > 1024) return null;
  const { name, tag = null, digest = null } = REFERENCE.exec(text)?.groups ?? {};
  if (name === undefined || name.length > MAX_NAME || /^[0-9a-f]{64}$/.test(name)) return null;
  return { name, tag, digest };
}
