import { complexityFromQuery } from '@pothos/plugin-complexity';
import {
  type DocumentNode,
  type ExecutionArgs,
  GraphQLError,
  getOperationAST,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { documentError } from '../errors.ts';
import { MAX_COMPLEXITY } from '../limits.ts';

/** Refuses an operation whose cost, its variables considered, exceeds the limit: fields times the nodes that they are asked of. */
export function useComplexityLimit(): Plugin {
  const refusal = (args: ExecutionArgs) => {
    const cost = costOf(args);
    if (cost <= MAX_COMPLEXITY) return null;
    const message = `the operation costs ${cost}: the limit is ${MAX_COMPLEXITY}; ask for fewer nodes ("first") or fields`;
    return { errors: [documentError('QUERY_TOO_COMPLEX', message)] };
  };
  return {
    onExecute({ args, setResultAndStopExecution }) {
      const result = refusal(args);
      if (result) setResultAndStopExecution(result);
    },
    onSubscribe({ args, setResultAndStopExecution }) {
      const result = refusal(args);
      if (result) setResultAndStopExecution(result);
    },
  };
}

/** What an operation costs; 0 where its variables are wrong: it is not executed then. Introspection has a limit of its own. */
export function costOf({ schema, document, operationName, variableValues, contextValue }: ExecutionArgs): number {
  const operation = getOperationAST(document, operationName);
  if (!operation) return 0;
  try {
    const options = { schema, ctx: contextValue as object, variables: { ...variableValues } };
    return complexityFromQuery(costlyPart(document, operation), options).complexity;
  } catch (error) {
    if (error instanceof GraphQLError) return 0;
    throw error;
  }
}

function costlyPart(document: DocumentNode, operation: OperationDefinitionNode): DocumentNode {
  const selections = operation.selectionSet.selections.filter((selection) => !isIntrospection(selection));
  const fragments = document.definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION);
  const measured = { ...operation, selectionSet: { ...operation.selectionSet, selections } };
  return { kind: Kind.DOCUMENT, definitions: [measured, ...fragments] };
}

function isIntrospection(selection: SelectionNode): boolean {
  return selection.kind === Kind.FIELD && selection.name.value.startsWith('__');
}
