/** How a host calls the user of an environment. @param {number} uid */
export function serviceUserName(uid) {
  return `windflow-${uid}`;
}
