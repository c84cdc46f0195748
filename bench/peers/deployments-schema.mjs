/** The part of WindFlow's schema that the query benchmark asks for: the same document runs on it. */
export const typeDefs = `
  scalar DateTime
  enum EnvironmentType { DEVELOPMENT STAGING PRODUCTION }
  enum DeploymentStatus {
    QUEUED PREPARING DEPLOYING VERIFYING RUNNING DEGRADED STOPPING CANCELLING STOPPED FAILED CANCELLED SUPERSEDED
  }
  type Query { deployments(organizationId: ID!, first: Int): DeploymentConnection }
  type DeploymentConnection { nodes: [Deployment!]! pageInfo: PageInfo! }
  type PageInfo { hasNextPage: Boolean! endCursor: String }
  type Deployment {
    id: ID!
    number: Int!
    status: DeploymentStatus!
    progress: Float!
    createdAt: DateTime!
    stack: Stack!
    environment: Environment!
    createdBy: Actor
  }
  type Stack { id: ID! name: String! }
  type Environment { id: ID! name: String! type: EnvironmentType! }
  union Actor = User
  type User { id: ID! username: String! }
`;

/** The connection of a page that was read with one row more. */
export function toConnection(rows, first) {
  const nodes = rows.slice(0, first);
  const last = nodes.at(-1);
  const cursor = () => Buffer.from(JSON.stringify([last.createdAt, last.id])).toString('base64url');
  return { nodes, pageInfo: { hasNextPage: rows.length > first, endCursor: last ? cursor() : null } };
}
