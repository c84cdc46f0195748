import { getDatamodel } from './generated/pothos-types.ts';
import type { ModelName } from './generated/prisma/internal/prismaNamespace.ts';

/** Prisma's `select` or `include`: what a query wants of a model's rows. */
export type Selection = { select?: object; include?: object };
export type Model = ModelName;

/** How rows and the single rows that they point to are read in one statement, the rows as `x`. */
export type RowPlan = {
  /** The list of a `select`; the first one is the id. */
  columns: string;
  /** Outer joins of what is pointed to. */
  joins: string;
  /** The object that Prisma would make, from values in the order of the columns, the first at `offset`; null where there is no row. */
  build(values: readonly unknown[], offset: number): Row | null;
};
export type Row = { id: string } & Record<string, unknown>;

type Field = { name: string; kind: string; type: string; isList?: boolean; relationFromFields?: readonly string[] };
type Part = { names: string[]; relations: [name: string, part: Part][]; width: number };

/** Plans that are kept: as many as clients ask for differently, and no more. */
const MAX_PLANS = 500;
const PLAIN_TYPES = new Set(['String', 'Int', 'Float', 'Boolean', 'DateTime', 'Json']);

const plans = new Map<string, RowPlan | null>();
let fieldsByModel: Map<Model, Map<string, Field>> | undefined;

/** Null where a selection asks for more than columns and single related rows: lists, conditions, counts. Prisma reads those. */
export function planRows(model: Model, selection: Selection): RowPlan | null {
  const key = `${model}${JSON.stringify(selection)}`;
  const known = plans.get(key);
  if (known !== undefined) return known;
  const plan = makePlan(model, selection);
  plans.set(key, plan);
  if (plans.size > MAX_PLANS) plans.delete(plans.keys().next().value!);
  return plan;
}

function makePlan(model: Model, selection: Selection): RowPlan | null {
  const columns: string[] = [];
  const joins: string[] = [];

  function add(ofModel: Model, wanted: Selection | true, alias: string): Part | null {
    const fields = fieldsOf(ofModel);
    const chosen = chooseFields(fields, wanted);
    if (!chosen) return null;
    const start = columns.length;
    const names: string[] = [];
    for (const field of chosen.scalars) {
      const column = `${alias}.${columnOf(field.name)}`;
      if (!isPlain(field)) return null;
      names.push(field.name);
      // Lists of enums are read as words: the driver knows those alone.
      columns.push(field.isList ? `${column}::text[]` : column);
    }
    const relations: [string, Part][] = [];
    for (const [field, nested] of chosen.relations) {
      const [from] = field.relationFromFields ?? [];
      if (from === undefined || field.isList) return null;
      const other = `r${joins.length + 1}`;
      joins.push(`left join ${tableOf(field.type)} ${other} on ${other}.id = ${alias}.${columnOf(from)}`);
      const part = add(field.type as Model, nested, other);
      if (!part) return null;
      relations.push([field.name, part]);
    }
    return { names, relations, width: columns.length - start };
  }

  const part = add(model, selection, 'x');
  return (
    part && { columns: columns.join(', '), joins: joins.join(' '), build: (values, at) => build(part, values, at) }
  );
}

type Choice = { scalars: Field[]; relations: [Field, Selection | true][] };

/** The id first: without it there is no row. */
function chooseFields(fields: Map<string, Field>, wanted: Selection | true): Choice | null {
  const id = fields.get('id');
  const { select, include, ...more } = wanted === true ? ({} as Selection) : wanted;
  if (!id || Object.values(more).some((value) => value !== undefined)) return null;
  const asked = Object.entries(select ?? include ?? {}).filter(([, value]) => value);
  const choice: Choice = { scalars: [id], relations: [] };
  if (!select)
    choice.scalars.push(...[...fields.values()].filter(({ name, kind }) => kind !== 'object' && name !== 'id'));
  for (const [name, value] of asked) {
    const field = fields.get(name);
    if (!field) return null;
    if (field.kind === 'object') choice.relations.push([field, value as Selection | true]);
    else if (select && name !== 'id') choice.scalars.push(field);
  }
  return choice;
}

function build({ names, relations }: Part, values: readonly unknown[], offset: number): Row | null {
  if (values[offset] === null) return null;
  const row: Record<string, unknown> = {};
  for (let index = 0; index < names.length; index++) row[names[index]!] = values[offset + index];
  let at = offset + names.length;
  for (const [name, part] of relations) {
    row[name] = build(part, values, at);
    at += part.width;
  }
  return row as Row;
}

function isPlain({ kind, type, isList }: Field): boolean {
  return kind === 'enum' || (PLAIN_TYPES.has(type) && (!isList || type === 'String'));
}

function fieldsOf(model: Model): Map<string, Field> {
  fieldsByModel ??= new Map(
    Object.entries(getDatamodel().datamodel.models).map(([name, { fields }]) => [
      name as Model,
      new Map(fields.map((field) => [field.name, field as Field])),
    ]),
  );
  return fieldsByModel.get(model)!;
}

/** The datamodel's names are the database's in camel case, tables in the plural: a test compares them. */
export function columnOf(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function tableOf(model: string): string {
  return `${columnOf(model)
    .slice(1)
    .replace(/(?<![aeiou])y$/, 'ie')}s`;
}
