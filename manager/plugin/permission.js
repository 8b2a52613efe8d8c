/* permission.external_directory: no question for what is in the mount. */
import { dirname } from "node:path"
import { env, inside, place, repo } from "./base.js"
import { world } from "./world.js"

function expand(pattern) {
  const home = env.HOME ?? ""
  return pattern.replace(/^(~|\$HOME)(?=\/|$)/, () => home)
}

// As OpenCode matches: * is any text.
function matches(pattern, path) {
  const source = expand(pattern).replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".")
  return new RegExp(`^${source}$`, "s").test(path)
}

/*
 * The user's external_directory (text, {pattern: action}, undefined), with the mount allowed. His word stands
 * where he speaks of the mount or refuses it; what he refuses of a repository's real tree is refused in the mount, too.
 * The last pattern that matches counts.
 */
function allowMount(asked, mount, repos) {
  const rules = Object.entries(typeof asked === "string" ? { "*": asked } : (asked ?? {}))
  const said = (path) => rules.findLast(([pattern]) => matches(pattern, path))?.[1]
  const denied = new Set(repos.filter((r) => said(`${r.root}/x`) === "deny").map((r) => r.id))
  if (said(`${mount}/x/y`) === "deny") return { rules: asked, denied }
  const ofMount = rules.filter(([pattern]) => inside(expand(pattern), mount))
  const out = Object.fromEntries(rules.filter((rule) => !ofMount.includes(rule)))
  out[`${mount}/*`] = "allow"
  for (const r of repos) {
    if (denied.has(r.id)) out[`${mount}/${r.name}/*`] = "deny"
    for (const [pattern, action] of rules)
      if (action === "deny" && inside(expand(pattern), r.root))
        out[`${mount}/${r.name}${expand(pattern).slice(r.root.length)}`] = action
  }
  for (const [pattern, action] of ofMount) {
    delete out[pattern]
    out[pattern] = action
  }
  return { rules: out, denied }
}

export async function configure(config, here) {
  const { repos, mount } = await world()
  const before = config.permission
  const permission = typeof before === "string" ? { "*": before } : { ...before }
  if (permission["*"] === "deny" && permission.external_directory === undefined) return
  const others = repos.filter((r) => r.id !== repo)
  const { rules, denied } = allowMount(permission.external_directory, mount ?? dirname(place), others)
  delete permission.external_directory
  permission.external_directory = rules
  config.permission = permission
  here.denied = denied
}
