import { isId } from './ids.ts';

/** The opaque ID of an object in the API: its type and UUID, base64url. */
export function encodeGlobalId(type: string, id: string): string {
  return Buffer.from(`${type}:${id}`).toString('base64url');
}

/** Type and UUID of a global ID, or null for anything malformed. Never throws. */
export function decodeGlobalId(globalId: string): { type: string; id: string } | null {
  if (globalId.length > 128 || !/^[\w-]+$/.test(globalId)) return null;
  const text = Buffer.from(globalId, 'base64url').toString('utf8');
  const colon = text.indexOf(':');
  const id = text.slice(colon + 1);
  if (colon < 1 || !isId(id) || encodeGlobalId(text.slice(0, colon), id) !== globalId) return null;
  return { type: text.slice(0, colon), id };
}

/** The UUID of a global ID of this type, or null: malformed and of another type alike. */
export function decodeIdOf(type: string, globalId: string): string | null {
  const decoded = decodeGlobalId(globalId);
  return decoded?.type === type ? decoded.id : null;
}

/** The same for an ID that may be absent: then undefined. */
export function optionalId(type: string, globalId: string | null | undefined): string | null | undefined {
  return globalId == null ? undefined : decodeIdOf(type, globalId);
}
