/*
 * rrm's plugin for OpenCode. One instance of the exported function runs per directory that this
 * backend serves; what is per process is at module level.
 *
 * It starts the gateway (rrm-backend --gateway) as a child with a pipe as lifeline: the gateway ends
 * when this process does. It refuses every directory that is not this backend's repository, because
 * any backend would serve any directory. It gives the children of tools the user's own environment
 * back, and tells them which repository and session they belong to.
 *
 * From the environment (manager/opencode.c): RRM_GATEWAY_PROGRAM, RRM_ROOT, RRM_STATE, RRM_DIRECTORY
 * (the repository's place in the mount, whether that is up or not), RRM_REPO_ID, RRM_USER_ENV (JSON).
 */
import { spawn } from "node:child_process"
import { existsSync, realpathSync } from "node:fs"
import { connect } from "node:net"
import { dirname, sep } from "node:path"

const env = process.env
const program = env.RRM_GATEWAY_PROGRAM
const root = env.RRM_ROOT
const state = env.RRM_STATE
const place = env.RRM_DIRECTORY
const repo = env.RRM_REPO_ID
const mark = env.RRM_BACKEND_OF
const active = Boolean(program && root && state && repo)

let userEnv = {}
try {
  userEnv = JSON.parse(env.RRM_USER_ENV || "{}")
} catch {
  say("RRM_USER_ENV is damaged; children of tools keep the backend's directories")
}

if (active) {
  // How rrm finds the processes of this backend; the children of tools are not the backend.
  delete env.RRM_BACKEND_OF
  // For children that no hook sees (MCP servers, formatters): where they are at home.
  env.RRM_HOME_REPO = repo
}

function say(text) {
  process.stderr.write(`rrm.js: ${text}\n`)
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
function moveIntoMount() {
  const probe = connect(`${state}/gateway.sock`)
  probe.on("connect", () => {
    probe.destroy()
    try {
      if (existsSync(place)) process.chdir(place)
    } catch (error) {
      say(`stays in ${root}: ${error.message}`)
    }
  })
  probe.on("error", () => setTimeout(moveIntoMount, 50).unref())
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

export const Rrm = async ({ directory }) => {
  if (!active) return {}
  if (!isOurs(directory)) return refusal(directory)
  const first = !gateway
  startGateway()
  if (first) moveIntoMount()
  return {
    "shell.env": async (input, output) => {
      Object.assign(output.env, userEnv)
      output.env.RRM_HOME_REPO = repo
      if (input.sessionID) output.env.RRM_SESSION = input.sessionID
    },
  }
}
