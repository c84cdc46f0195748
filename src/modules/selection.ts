/** A query of Prisma's that reads a field also where the operation does not select it. */
export function withField(query: { select?: object }, field: string): object {
  return query.select ? { ...query, select: { ...query.select, [field]: true } } : query;
}
