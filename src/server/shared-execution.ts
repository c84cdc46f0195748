import {
  createSourceEventStream,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  type FieldNode,
  getOperationAST,
  Kind,
  type SubscriptionArgs,
  visit,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { GraphQLContext } from '../graphql/context.ts';
import { selectsOnlyShared } from '../graphql/viewer-independence.ts';
import { Feed } from '../realtime/feed.ts';
import type { Hub } from '../realtime/hub.ts';
import type { Follower } from '../realtime/hub-follower.ts';
import { SharedFrame } from './shared-frame.ts';

/** A result that many are told; its JSON is made once. */
export type SharedResult = ExecutionResult & {
  /** What writes results as server-sent events takes instead of making its own. */
  readonly stringify: () => string;
  /** What it is on WebSockets. */
  readonly frame: SharedFrame;
};

function shared(result: ExecutionResult): SharedResult {
  let frame: SharedFrame | null = null;
  let json: string | null = null;
  const stringify = () => (json ??= JSON.stringify(result));
  return Object.defineProperties(result, {
    stringify: { value: stringify },
    frame: { get: () => (frame ??= new SharedFrame(Buffer.from(stringify()))) },
  }) as SharedResult;
}

export type SharedResults = Follower<unknown, SharedResult>;

/** Arguments of a subscription that only say where a follower begins: those who are up to date are told the same. */
const START_ARGUMENTS: readonly string[] = ['after', 'last'];

type Sharing = { isShared: boolean; id: number; startVariables: string[] };

export type SharedExecution = {
  plugin: Plugin;
  /** The results of the subscription that has this context, where it is shared: to be pushed instead of pulled. */
  resultsOf(contextValue: unknown): SharedResults | undefined;
};

/** Executes a subscription once for all who are told the same: see `Hub`. Others are executed for each, as ever. */
export function createSharedExecution(hub: Hub): SharedExecution {
  const followers = new WeakMap<object, SharedResults>();
  const known = new WeakMap<DocumentNode, Map<string, Sharing>>();
  let documents = 0;

  const sharingOf = ({ schema, document, operationName }: ExecutionArgs): Sharing => {
    const operations = known.get(document) ?? new Map<string, Sharing>();
    known.set(document, operations);
    const name = operationName ?? '';
    let sharing = operations.get(name);
    if (!sharing) {
      const isShared = selectsOnlyShared(schema, document, operationName);
      sharing = { isShared, id: documents++, startVariables: startVariablesOf(document, operationName) };
      operations.set(name, sharing);
    }
    return sharing;
  };

  async function subscribe(args: SubscriptionArgs, sharing: Sharing) {
    const source = await createSourceEventStream(args);
    if (!(source instanceof Feed)) return source as ExecutionResult;
    const contextValue = args.contextValue as GraphQLContext;
    const follower = hub.follow<unknown, SharedResult>({
      feed: source,
      view: viewOf(args, sharing),
      // A context of its own: what is loaded for one item is not kept for the next.
      render: async (item) => shared(await execute({ ...args, rootValue: item, contextValue: { ...contextValue } })),
      signal: contextValue.lifetime.signal,
    });
    followers.set(contextValue, follower);
    return follower;
  }

  return {
    plugin: {
      onSubscribe({ args, setSubscribeFn }) {
        const sharing = sharingOf(args);
        if (sharing.isShared) setSubscribeFn((given: SubscriptionArgs) => subscribe(given, sharing));
      },
    },
    resultsOf: (contextValue) => followers.get(contextValue as object),
  };
}

/** What tells apart how an item is shown: the document and its variables, but for those that only say where to begin. */
function viewOf({ variableValues, operationName }: ExecutionArgs, { id, startVariables }: Sharing): string {
  const variables = Object.entries(variableValues ?? {}).filter(([name]) => !startVariables.includes(name));
  return JSON.stringify([id, operationName ?? null, Object.fromEntries(variables)]);
}

/** Variables that are used for nothing but where the subscription begins. */
function startVariablesOf(document: DocumentNode, operationName?: string | null): string[] {
  const operation = getOperationAST(document, operationName);
  const uses = new Map<string, number>();
  const count = (name: string, by: number) => uses.set(name, (uses.get(name) ?? 0) + by);
  visit(document, { Variable: ({ name }) => count(name.value, 1), VariableDefinition: () => false });
  const fields = operation?.selectionSet.selections.filter(({ kind }) => kind === Kind.FIELD) as
    | FieldNode[]
    | undefined;
  for (const { name, value } of fields?.flatMap((field) => field.arguments ?? []) ?? [])
    if (START_ARGUMENTS.includes(name.value) && value.kind === Kind.VARIABLE) count(value.name.value, -1);
  return [...uses].filter(([, left]) => left === 0).map(([name]) => name);
}
