/** Where the faults of a ValidationError are, as texts: "configuration.url". */
export const pathsOf = ({ fields }: { fields?: { path: string[] }[] }): string[] | undefined =>
  fields?.map(({ path }) => path.join('.'));
