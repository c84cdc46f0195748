import { readTexts } from './container-values.ts';
import { EXTENSION, type InlineFiles } from './inline-files.ts';
import type { Place } from './place.ts';

/** Options as "name=value", the older "name:value" too; a profile of seccomp is the text of a file that the stack brings along. */
export function readSecurityOptions(place: Place, files: InlineFiles): string[] {
  return readTexts(place).map((text) => {
    const [, name = text, value = null] = /^([a-z-]+)\s*[=:]\s*(.*)$/is.exec(text.trim()) ?? [];
    if (value === null) return name.trim();
    const key = name.toLowerCase();
    return `${key}=${key === 'seccomp' ? profileOf(value, place, files) : value}`;
  });
}

function profileOf(value: string, place: Place, files: InlineFiles): string {
  if (value === 'unconfined' || value === 'builtin' || value.startsWith('{')) return value;
  const text = files.find(value);
  if (text === null) {
    const message = 'A profile of seccomp is read from a file that is not there: a stack is this one file.';
    place.error('file-missing', message, `Put its text under the top-level "${EXTENSION}: { files: { path: text } }".`);
  }
  return text ?? value;
}
