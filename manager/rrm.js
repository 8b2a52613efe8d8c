/*
 * rrm's plugin for OpenCode. One instance of the exported function runs per directory that this
 * backend serves; what is per process is at module level.
 *
 * - It starts the gateway (rrm-backend --gateway) as a child with a pipe as lifeline: the gateway ends
 *   when this process does.
 * - It refuses every directory that is not this backend's repository, because any backend would serve any
 *   directory.
 * - It gives the children of tools the user's own environment back, and tells them which repository and
 *   session they belong to.
 * - Around each tool that writes files it holds the write turn of the repositories that own them, by a child
 *   `rrm lock` for each, also with a pipe as lifeline; <state>/turns/<repo_id> tells the mount whose session
 *   that is (router/identity.h). What changed since the session read it is not written over.
 * - Real paths of other repositories in a tool's arguments become the same places in the mount, and those are
 *   no "external directory" that a person is asked about.
 * - It shows a toast when another repository wrote here.
 *
 * A hook that throws makes its tool fail with that text, which the model reads. Nothing here waits without a
 * bound or reads files on the thread that serves everybody (but an unlink and a small rename).
 *
 * This file is copied to where OpenCode looks for plugins; the parts in plugin/ stay beside the original
 * (RRM_PLUGIN), where OpenCode does not take each of them for a plugin.
 *
 * From the environment (manager/opencode.c): RRM_GATEWAY_PROGRAM, RRM_PROGRAM, RRM_PLUGIN, RRM_ROOT, RRM_STATE,
 * RRM_DIRECTORY (the repository's place in the mount, whether that is up or not), RRM_REPO_ID,
 * RRM_USER_ENV (JSON), RRM_LOCK_TIMEOUT_MS.
 */
import { spawn } from "node:child_process"
import { existsSync, realpathSync } from "node:fs"
import { connect } from "node:net"
import { dirname, resolve, sep } from "node:path"

const active = Boolean(process.env.RRM_GATEWAY_PROGRAM && process.env.RRM_PLUGIN && process.env.RRM_STATE)
const part = (name) => (active ? import(`${dirname(process.env.RRM_PLUGIN)}/plugin/${name}.js`) : {})
const { env, place, repo, root, say, state, userEnv } = await part("base")
const { locate, pathArgument, patching, route, world, writing, written } = await part("world")
const { keepSeen, look } = await part("views")
const { beginWriting, filesOf, finish, forgetTurns, keyOf, noticed } = await part("turns")
const { configure } = await part("permission")
const { explain } = await part("refusals")
const { instances, watchAudit } = await part("news")

const program = process.env.RRM_GATEWAY_PROGRAM
const mark = process.env.RRM_BACKEND_OF

if (active) {
  // How rrm finds the processes of this backend; the children of tools are not the backend.
  delete env.RRM_BACKEND_OF
  // For children that no hook sees (MCP servers, formatters): where they are at home.
  env.RRM_HOME_REPO = repo
}

let gateway = null
let failures = 0

function startGateway() {
  if (gateway || !active) return
  const started = Date.now()
  const childEnv = { ...env, ...userEnv, RRM_BACKEND_OF: mark }
  gateway = spawn(program, ["--gateway", "--root", root, "--state", state], {
    stdio: ["pipe", "inherit", "inherit"],
    env: childEnv,
  })
  gateway.stdin.on("error", () => {})
  let ended = false
  const again = (why) => {
    if (ended) return
    ended = true
    gateway = null
    failures = Date.now() - started > 10000 ? 0 : failures + 1
    const wait = Math.min(5000, 100 * 2 ** failures)
    say(`the gateway ended (${why}); again in ${wait} ms`)
    setTimeout(startGateway, wait).unref()
  }
  gateway.on("error", (error) => again(error.message))
  gateway.on("exit", (code, signal) => again(signal || `exit status ${code}`))
}

// Clients that name no directory get the working directory: the repository's place in the mount. Not
// before the gateway answers: the first foreign change may be what started this backend, it holds that very
// directory locked in the kernel, and only the gateway ends it.
function onceItAnswers() {
  const probe = connect(`${state}/gateway.sock`)
  probe.on("connect", () => {
    probe.destroy()
    watchAudit()
    try {
      if (existsSync(place)) process.chdir(place)
    } catch (error) {
      say(`stays in ${root}: ${error.message}`)
    }
  })
  probe.on("error", () => setTimeout(onceItAnswers, 50).unref())
}

function canonical(path) {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

// Below top, and in no other repository's work tree on the way down.
function belongs(directory, top) {
  if (!top) return false
  if (directory === top) return true
  if (!directory.startsWith(top + sep)) return false
  for (let at = directory; at !== top; at = dirname(at)) if (existsSync(at + sep + ".git")) return false
  return true
}

// Texts first: the mount may be down or hang, and this thread must not.
function isOurs(directory) {
  if (belongs(directory, root) || belongs(directory, place)) return true
  const real = canonical(directory)
  return belongs(real, root) || belongs(real, place) || belongs(real, canonical(place))
}

// Every way to make this instance do something ends in the same sentence.
function refusal(directory) {
  const text =
    `rrm: this backend serves ${root} and no other directory; ${directory} has one of its own: ` +
    `run \`rrm ensure ${directory}\` and connect there`
  say(text)
  const refuse = async () => {
    throw new Error(text)
  }
  return {
    "chat.message": refuse,
    "chat.params": refuse,
    "command.execute.before": refuse,
    "tool.execute.before": refuse,
    "shell.env": refuse,
  }
}

// ---- the hooks ----

const reads = new Map() // "<session> <callID>" -> {real, before}
const commands = new Map() // "<session> <callID>" -> when it began

function remember(map, key, value) {
  map.set(key, value)
  if (map.size > 1000) map.delete(map.keys().next().value)
}

async function before(input, output, here) {
  const args = output.args
  if (!args || typeof args !== "object") return
  if (input.tool !== "bash" && !pathArgument[input.tool] && !patching.has(input.tool)) return
  const w = await world()
  await route(input.tool, args, here, w)
  if (writing.has(input.tool)) {
    const paths = written(input.tool, args, here)
    if (paths.length) await beginWriting(input, paths, w)
  } else if (input.tool === "read" && typeof args.filePath === "string") {
    const { real } = await locate(resolve(here.directory, args.filePath), w)
    remember(reads, keyOf(input), { real, before: await look(real) })
  } else if (input.tool === "bash") {
    remember(commands, keyOf(input), Date.now())
  }
}

async function after(input, output) {
  const key = keyOf(input)
  const since = commands.get(key)
  commands.delete(key)
  if (since) return explain(input.sessionID, since, output)
  const read = reads.get(key)
  reads.delete(key)
  if (read) return keepSeen(input.sessionID, read.real, read.before)
  try {
    for (const real of filesOf(key)) await keepSeen(input.sessionID, real)
  } finally {
    finish(key)
  }
}

let begun = false

function startOnce() {
  if (begun) return
  begun = true
  forgetTurns()
  startGateway()
  onceItAnswers()
}

export const Rrm = async ({ directory, client, serverUrl }) => {
  if (!active) return {}
  if (!isOurs(directory)) return refusal(directory)
  startOnce()
  const here = { directory, client, serverUrl, denied: new Set() }
  instances.add(here)
  return {
    config: (config) => configure(config, here),
    event: async ({ event }) => noticed(event, here),
    "tool.execute.before": (input, output) => before(input, output, here),
    "tool.execute.after": (input, output) => after(input, output),
    "shell.env": async (input, output) => {
      Object.assign(output.env, userEnv)
      output.env.RRM_HOME_REPO = repo
      if (input.sessionID) output.env.RRM_SESSION = input.sessionID
    },
    dispose: async () => {
      instances.delete(here)
    },
  }
}
