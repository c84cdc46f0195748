const SQL_STATE = '23503';
/** Prisma's: for its own operations, and for raw SQL with the state inside. */
const PRISMA_CODE = 'P2003';
const MAX_CAUSES = 5;

type Fault = { code?: unknown; originalCode?: unknown; cause?: unknown; meta?: { driverAdapterError?: unknown } };

/** Whether a write failed because the row that it refers to is gone: somebody deleted it meanwhile. */
export function isMissingParent(error: unknown): boolean {
  let fault = error as Fault | null | undefined;
  for (let depth = 0; depth < MAX_CAUSES && typeof fault === 'object' && fault !== null; depth++) {
    if (fault.code === PRISMA_CODE || fault.code === SQL_STATE || fault.originalCode === SQL_STATE) return true;
    fault = (fault.cause ?? fault.meta?.driverAdapterError) as Fault | null | undefined;
  }
  return false;
}
