/** The first user id of services where the server is root; each environment has one of its own. */
export const FIRST_SERVICE_UID = 850_000;

/** The user that an environment's services run under; null: the server's own. */
export function serviceUid(uidOffset: number | null): number | null {
  return process.getuid?.() === 0 && uidOffset !== null ? FIRST_SERVICE_UID + uidOffset : null;
}
