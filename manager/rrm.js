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
 * From the environment (manager/opencode.c): RRM_GATEWAY_PROGRAM, RRM_PROGRAM, RRM_ROOT, RRM_STATE,
 * RRM_DIRECTORY (the repository's place in the mount, whether that is up or not), RRM_REPO_ID,
 * RRM_USER_ENV (JSON), RRM_LOCK_TIMEOUT_MS.
 */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, unlinkSync, watch, writeFileSync } from "node:fs"
import { open, readFile, readdir, realpath, stat } from "node:fs/promises"
import { connect } from "node:net"
import { basename, dirname, join, relative, resolve, sep } from "node:path"

const env = process.env
const program = env.RRM_GATEWAY_PROGRAM
const rrm = env.RRM_PROGRAM
const root = env.RRM_ROOT
const state = env.RRM_STATE
const place = env.RRM_DIRECTORY
const repo = env.RRM_REPO_ID
const mark = env.RRM_BACKEND_OF
const lockTimeoutMs = Number(env.RRM_LOCK_TIMEOUT_MS) || 30000
const active = Boolean(program && rrm && root && state && place && repo)
const base = active ? dirname(dirname(state)) : ""

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

// ---- the repositories and the mount ----

async function readJson(path) {
  try {
    return JSON.parse(await readFile(path, "utf8"))
  } catch {
    return null
  }
}

function inside(path, top) {
  return path === top || path.startsWith(top + sep)
}

let known = { at: -Infinity, repos: [] }

// [{id, root, name}], the deepest first. Names that are no UTF-8 cannot come from a model either.
async function repositories() {
  const now = performance.now()
  if (now - known.at < 1000) return known.repos
  const ids = await readdir(`${base}/repos`).catch(() => [])
  const files = await Promise.all(ids.map((id) => readJson(`${base}/repos/${id}/repo.json`)))
  const repos = files
    .filter((f) => typeof f?.root === "string" && typeof f.name === "string" && !f.root_hex && !f.name_hex)
    .map((f) => ({ id: f.repo_id, root: f.root, name: f.name }))
    .sort((a, b) => b.root.length - a.root.length)
  known = { at: now, repos }
  return repos
}

// Where the mount is; null when it is not up. Never touches it.
async function mountpoint() {
  const m = await readJson(`${base}/mount.json`)
  if (typeof m?.mountpoint !== "string" || m.mountpoint_hex) return null
  const text = await readFile(`/proc/${m.pid}/stat`, "latin1").catch(() => "")
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
  return fields[0] !== "Z" && fields[19] === String(m.start_time) ? m.mountpoint : null
}

async function world() {
  const [repos, mount] = await Promise.all([repositories(), mountpoint()])
  return { repos, mount }
}

// path with its links followed, as far as it exists.
async function followed(path) {
  const rest = []
  for (let at = path; ; at = dirname(at)) {
    try {
      return join(await realpath(at), ...rest.reverse())
    } catch {
      if (at === dirname(at)) return path
      rest.push(basename(at))
    }
  }
}

// {real, owner}: the real place of an absolute path, in the mount or not, and the repository it is in (or undefined).
async function locate(path, { repos, mount }) {
  let real = path
  if (mount && inside(path, mount)) {
    const [name, ...rest] = path.slice(mount.length + 1).split(sep)
    const shown = repos.find((r) => r.name === name)
    if (!shown) return { real: path, owner: undefined }
    real = join(shown.root, ...rest)
  }
  real = await followed(real)
  return { real, owner: repos.find((r) => inside(real, r.root)) }
}

// ---- what tools are told: paths ----

const pathArgument = {
  read: "filePath",
  write: "filePath",
  edit: "filePath",
  multiedit: "filePath",
  lsp: "filePath",
  grep: "path",
  glob: "path",
  list: "path",
}
const patching = new Set(["apply_patch", "patch"])
const writing = new Set(["write", "edit", "multiedit", ...patching])
const patchHeader = /^(\*\*\* (?:(?:Add|Update|Delete) File|Move to):[ \t]*)(.*?)[ \t]*$/gm

/*
 * Where a tool should go instead of path: the same place in the mount, when it is up and path is in a
 * repository's real tree. An instance that was opened in the real tree keeps its own files there (the user's
 * permissions are patterns relative to it), but not its shell, which may go on to ../other.
 */
async function routed(path, here, w, shell) {
  if (!w.mount || inside(path, w.mount)) return path
  const { real, owner } = await locate(path, w)
  if (!owner || here.denied.has(owner.id)) return path
  const own = inside(real, root)
  if (own && !shell && !inside(here.directory, w.mount)) return path
  const shown = own ? w.repos.find((r) => r.id === repo) : owner
  return shown ? join(w.mount, shown.name, relative(shown.root, real)) : path
}

async function routePatch(text, here, w) {
  const places = new Map()
  for (const [, , path] of text.matchAll(patchHeader)) {
    const absolute = resolve(here.directory, path)
    const to = await routed(absolute, here, w)
    if (to !== absolute) places.set(path, to)
  }
  return text.replace(patchHeader, (line, head, path) => (places.has(path) ? head + places.get(path) : line))
}

// Changes args in place.
async function route(tool, args, here, w) {
  if (patching.has(tool)) {
    if (typeof args.patchText === "string") args.patchText = await routePatch(args.patchText, here, w)
    return
  }
  const shell = tool === "bash"
  const name = shell ? "workdir" : pathArgument[tool]
  if (!name || (!shell && typeof args[name] !== "string")) return
  const path = resolve(here.directory, typeof args[name] === "string" ? args[name] : "")
  const to = await routed(path, here, w, shell)
  if (to !== path) args[name] = to
}

// Absolute paths of the files that the call will write.
function written(tool, args, here) {
  if (patching.has(tool) && typeof args.patchText === "string")
    return [...args.patchText.matchAll(patchHeader)].map(([, , path]) => resolve(here.directory, path))
  if (writing.has(tool) && typeof args.filePath === "string") return [resolve(here.directory, args.filePath)]
  return []
}

// ---- the write turn ----

// Longer than any tool writes; a call whose end we never hear of must not keep others waiting for ever.
const turnBoundMs = 120000
// Says that the turn is held, and holds it until our end of the pipe is closed.
const holdTurn = 'printf "%s\\n" "$RRM_TURN_HOLDER"; read -r end'
// How long a change that the mount holds back for a tool's turn may wait before the tool gives way.
const givesWayMs = 150
const calls = new Map() // "<session> <callID>" -> call
const lines = new Map() // repo_id -> a promise: the last call of this process in line there has left

function keyOf(input) {
  return `${input.sessionID} ${input.callID}`
}

function announce(turn, session, holder) {
  const file = `${state}/turns/${turn.target.id}`
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  turn.text = `${session} ${holder}\n`
  writeFileSync(`${file}.new`, turn.text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
  turn.file = file
}

function unannounce(turn) {
  try {
    if (turn.file && readFileSync(turn.file, "utf8") === turn.text) unlinkSync(turn.file)
  } catch {}
}

function giveBackTurn(turn) {
  // First: whoever has the turn next announces it under the same name.
  unannounce(turn)
  if (!turn.file) turn.child?.kill()
  turn.child?.stdin.end()
}

// Ends by throwing rrm's sentence when somebody else has the turn for too long.
function takeTurn(target, call) {
  const child = spawn(rrm, ["lock", target.id, "--", "sh", "-c", holdTurn], {
    stdio: ["pipe", "pipe", "pipe"],
    cwd: state,
    env: { ...env, ...userEnv, RRM_SESSION: call.session },
  })
  const turn = { target, child, file: null }
  call.turns.push(turn)
  child.stdin.on("error", () => {})
  return new Promise((held, failed) => {
    let out = ""
    let err = ""
    const fail = (why) => failed(new Error(`rrm: ${why}`))
    child.on("error", (error) => fail(`cannot run ${rrm}: ${error.message}`))
    child.stderr.on("data", (text) => (err = (err + text).slice(-2000)))
    child.on("close", () => fail(err.trim().replace(/^rrm: /, "") || `${rrm} lock ended without a word`))
    child.stdout.on("data", (text) => {
      out += text
      if (!out.endsWith("\n")) return
      if (call.over) return fail("the call was ended")
      announce(turn, call.session, out.trim())
      held()
    })
  })
}

// Sessions of one process stand in line here, first come, first served, whatever becomes of the turn meanwhile.
async function standInLine(target, call) {
  const before = lines.get(target.id) ?? Promise.resolve()
  const place = {}
  place.left = new Promise((leave) => (place.leave = leave))
  lines.set(target.id, Promise.all([before, place.left]))
  call.places.push(place.leave)
  let timer
  const late = new Promise((done) => (timer = setTimeout(done, lockTimeoutMs, "late")))
  const got = await Promise.race([before, late])
  clearTimeout(timer)
  if (got === "late")
    throw new Error(
      `rrm: the write turn of ${target.name} was not free within ${lockTimeoutMs} ms: other sessions of this ` +
        `repository have it; try again later, see rrm status ${target.name}`,
    )
}

function giveBack(call) {
  for (const turn of call.turns.splice(0)) giveBackTurn(turn)
}

function leaveLines(call) {
  for (const leave of call.places.splice(0)) leave()
}

function finish(key) {
  const call = calls.get(key)
  if (!call) return
  calls.delete(key)
  call.over = true
  clearTimeout(call.bound)
  clearInterval(call.watching)
  clearInterval(call.giving)
  giveBack(call)
  leaveLines(call)
}

// All or none, in one order for everybody, so that no two calls wait for each other.
async function takeTurns(call) {
  for (const target of call.targets) {
    await standInLine(target, call)
    if (call.over) throw new Error("rrm: the call was ended")
    await takeTurn(target, call)
  }
}

// The tool goes on without the turn until it is ours again: the mount shall know whose it is.
function takeTurnsAgain(call, take) {
  for (const target of call.targets) {
    const turn = { target, child: null, file: null }
    if (!existsSync(`${state}/turns/${target.id}`)) announce(turn, call.session, "-")
    call.turns.push(turn)
  }
  take(call).catch((error) => call.over || say(error.message))
}

/*
 * A change that waits in the mount holds locks of the kernel: of the file, of the directory. When the tool needs
 * one of them it waits for that change, which waits for the tool. So the turn goes once round when the mount
 * has somebody in line for it for a while; other sessions of this process stay in line behind the call.
 */
async function giveWay(call) {
  const m = await readJson(`${base}/mount.json`)
  const written = await Promise.all(call.targets.map((target) => readJson(`${base}/repos/${target.id}/writer.json`)))
  const waits = written.some((w) => w?.waiters?.some((one) => m && one.process === m.pid))
  const before = call.seenWaiting
  call.seenWaiting = waits
  if (call.over || call.asked || !waits || !before || call.turns.some((turn) => !turn.file)) return
  call.seenWaiting = false
  giveBack(call)
  takeTurnsAgain(call, async () => {
    for (const target of call.targets) await takeTurn(target, call)
  })
}

async function beginWriting(input, paths, w) {
  const key = keyOf(input)
  const files = await Promise.all(paths.map((path) => locate(path, w)))
  const owners = new Map(files.filter((f) => f.owner).map((f) => [f.owner.id, f.owner]))
  const call = {
    session: input.sessionID,
    files,
    targets: [...owners.values()].sort((a, b) => (a.id < b.id ? -1 : 1)),
    turns: [],
    places: [],
    seenWaiting: false,
    asked: null, // the open question's id
    watching: null,
    over: false,
  }
  calls.set(key, call)
  call.bound = setTimeout(() => {
    say(`the call ${key} did not end in ${turnBoundMs / 1000} s; its write turn is given back`)
    finish(key)
  }, turnBoundMs)
  call.bound.unref()
  try {
    await takeTurns(call)
    for (const file of files) await refuseStale(input.sessionID, file, w)
    call.giving = setInterval(giveWay, givesWayMs, call)
    call.giving.unref()
  } catch (error) {
    finish(key)
    throw error
  }
}

/*
 * A person who is asked for permission may take hours: meanwhile the turn is free for others, and is taken
 * again with the answer. Who decides about a change of something that has become another since is not asked any more.
 */
async function asked(call, request, here) {
  call.asked = request
  clearTimeout(call.bound)
  giveBack(call)
  leaveLines(call)
  const seen = await Promise.all(call.files.map((file) => look(file.real)))
  clearInterval(call.watching)
  if (call.over || call.asked !== request) return
  call.watching = setInterval(async () => {
    const now = await Promise.all(call.files.map((file) => look(file.real)))
    if (call.asked !== request || now.every((file, i) => (file && seen[i] ? same(file, seen[i]) : file === seen[i]))) return
    clearInterval(call.watching)
    reject(here, request, "rrm: a file was changed by somebody else while permission was asked; nothing was written: read it again").catch(
      (error) => say(`permission ${request} stays open: ${error.message}`),
    )
  }, 1000)
  call.watching.unref()
}

async function reject({ serverUrl, directory }, request, message) {
  const login = `${env.OPENCODE_SERVER_USERNAME}:${env.OPENCODE_SERVER_PASSWORD}`
  const to = new URL(`/permission/${request}/reply?directory=${encodeURIComponent(directory)}`, serverUrl)
  const answer = await fetch(to, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Basic ${btoa(login)}` },
    body: JSON.stringify({ reply: "reject", message }),
  })
  if (!answer.ok) throw new Error(`the answer is ${answer.status}`)
}

function answered(call, reply) {
  call.asked = null
  clearInterval(call.watching)
  if (reply === "reject") return
  takeTurnsAgain(call, takeTurns)
}

// A call that fails or is aborted has no tool.execute.after; its part says so.
function noticed({ type, properties: p }, here) {
  if (type === "message.part.updated") {
    const part = p?.part
    if (part?.type === "tool" && (part.state?.status === "error" || part.state?.status === "completed"))
      finish(keyOf(part))
  } else if (type === "permission.asked") {
    const call = p?.tool && calls.get(keyOf({ sessionID: p.sessionID, callID: p.tool.callID }))
    if (call) asked(call, p.id, here)
  } else if (type === "permission.replied") {
    for (const call of calls.values()) if (call.asked && call.asked === p?.requestID) answered(call, p.reply)
  } else if (type === "session.deleted") {
    views.delete(p?.info?.id ?? p?.sessionID)
  }
}

// ---- what each session has seen ----

const hashMaxBytes = 32 << 20
const viewMaxFiles = 4000
const views = new Map() // session -> Map of real path -> {size, mtimeNs, ino, sha256, at}
const reads = new Map() // "<session> <callID>" -> {real, before}

async function look(real) {
  const st = await stat(real, { bigint: true }).catch(() => null)
  return st?.isFile() ? { size: st.size, mtimeNs: st.mtimeNs, ino: st.ino, at: Date.now() } : null
}

function same(a, b) {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ino === b.ino
}

// In pieces, so that nothing else waits for it. null: too large, or not to be read.
async function sha256(real, size) {
  if (size > hashMaxBytes) return null
  const hash = createHash("sha256")
  let file
  try {
    file = await open(real)
    const piece = Buffer.alloc(256 << 10)
    for (let got; (got = (await file.read(piece, 0, piece.length)).bytesRead) > 0; ) hash.update(piece.subarray(0, got))
    return hash.digest("hex")
  } catch {
    return null
  } finally {
    await file?.close()
  }
}

function keep(session, real, seen) {
  const view = views.get(session) ?? new Map()
  views.set(session, view)
  view.delete(real)
  if (!seen) return
  view.set(real, seen)
  if (view.size > viewMaxFiles) view.delete(view.keys().next().value)
}

// before: what the file was when the tool began to read it; one that changed meanwhile matches nothing.
async function keepSeen(session, real, before) {
  const seen = await look(real)
  if (!seen) return keep(session, real, null)
  if (before && !same(before, seen)) return keep(session, real, { ...before, sha256: null })
  keep(session, real, { ...seen, sha256: await sha256(real, seen.size) })
}

async function tail(file, bytes) {
  let f
  try {
    f = await open(file)
    const { size } = await f.stat()
    const { buffer, bytesRead } = await f.read(Buffer.alloc(Math.min(size, bytes)), 0, undefined, Math.max(0, size - bytes))
    return buffer.subarray(0, bytesRead).toString("utf8").split("\n")
  } catch {
    return []
  } finally {
    await f?.close()
  }
}

// The records of changes to path below owner's root since then, oldest first: [{last, actor}].
async function changesOf(owner, path, since) {
  const dir = `${base}/repos/${owner.id}`
  const lines = await Promise.all(["audit.jsonl", "home.jsonl"].map((name) => tail(`${dir}/${name}`, 256 << 10)))
  const wanted = JSON.stringify(path).slice(1, -1)
  const found = []
  for (const line of lines.flat()) {
    if (!line.includes(wanted)) continue
    try {
      const r = JSON.parse(line)
      const last = Date.parse(r.ts_last ?? r.ts)
      const ok = r.result === undefined || r.result === "ok"
      if (ok && (r.path === path || r.path2 === path) && last >= since) found.push({ last, actor: r.actor ?? {} })
    } catch {
      // the first line is seldom whole
    }
  }
  return found.sort((a, b) => a.last - b.last)
}

// What home.jsonl will say of a change a moment ago it says within this time.
const homeLogMs = 1500

// Who changed it last, but for the session itself; null: nobody but the session.
async function otherWriter(session, owner, path, since, changedMs) {
  let changes = await changesOf(owner, path, since)
  const wait = changedMs + homeLogMs - Date.now()
  if (!changes.length && wait > 0 && wait <= homeLogMs) {
    await new Promise((done) => setTimeout(done, wait))
    changes = await changesOf(owner, path, since)
  }
  const mine = (c) => c.actor.home === repo && c.actor.session === session
  const others = changes.filter((c) => !mine(c))
  if (!others.length && changes.length && changedMs <= changes.at(-1).last + 500) return null
  return others.at(-1) ?? { last: changedMs, actor: null }
}

// A file that changed since the session saw it is not written by it.
async function refuseStale(session, { real, owner }, { repos }) {
  const seen = views.get(session)?.get(real)
  if (!seen) return
  const now = await look(real)
  if (now && same(seen, now)) return
  if (now && seen.sha256 && seen.sha256 === (await sha256(real, now.size))) return keep(session, real, { ...now, sha256: seen.sha256 })
  const changedMs = now ? Number(now.mtimeNs / 1000000n) : Date.now()
  const who = owner && (await otherWriter(session, owner, relative(owner.root, real), seen.at, changedMs))
  if (who === null) return
  const shown = owner ? `${owner.name}/${relative(owner.root, real)}` : real
  const of = who?.actor && (repos.find((r) => r.id === who.actor.home)?.name ?? who.actor.home)
  const by = who?.actor
    ? `${who.actor.comm ?? "a program"} of ${of ? `repository ${of}` : "no repository"} (session ${who.actor.session ?? "unknown"})`
    : "a program that rrm did not see"
  throw new Error(
    `rrm: ${shown} ${now ? "was changed" : "was removed"} since this session read it, by ${by}, at ` +
      `${new Date(who?.last ?? changedMs).toISOString()}; nothing was written: read it again, then make the change anew`,
  )
}

// ---- no question for what is in the mount ----

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

async function configure(config, here) {
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

// ---- a toast when others wrote here ----

const burstMs = 700
const toastEveryMs = 5000
const auditPartBytes = 1 << 20
const instances = new Set()
const news = { file: null, offset: 0, reading: false, again: false, timer: null, lastToast: 0, writers: new Map() }

// Only from now on; nothing runs while nobody writes.
async function watchAudit() {
  news.offset = await stat(`${state}/audit.jsonl`).then((st) => st.size, () => 0)
  const begin = () => {
    try {
      news.file = watch(`${state}/audit.jsonl`, { persistent: false }, (kind) => {
        readNews()
        if (kind !== "rename") return
        news.file?.close() // the gateway began a new one
        news.file = null
        setTimeout(begin, 200).unref()
      })
      news.file.on("error", (error) => say(`no toasts: ${error.message}`))
    } catch {
      setTimeout(begin, 2000).unref()
    }
  }
  begin()
}

async function readNews() {
  if (news.reading) {
    news.again = true
    return
  }
  news.reading = true
  do {
    news.again = false
    await readPart()
  } while (news.again)
  news.reading = false
}

async function readPart() {
  let f
  try {
    f = await open(`${state}/audit.jsonl`)
    const { size } = await f.stat()
    if (size < news.offset) news.offset = 0
    if (size - news.offset > auditPartBytes) news.offset = size - auditPartBytes
    const { buffer, bytesRead } = await f.read(Buffer.alloc(size - news.offset), 0, undefined, news.offset)
    const text = buffer.subarray(0, bytesRead)
    const end = text.lastIndexOf(10) + 1
    news.offset += end
    for (const line of text.subarray(0, end).toString("utf8").split("\n")) noteRecord(line)
  } catch {
    // gone or torn: the next event finds it
  } finally {
    await f?.close()
  }
}

function noteRecord(line) {
  let record
  try {
    record = JSON.parse(line)
  } catch {
    return
  }
  if (record.result !== "ok" || record.actor?.home === repo) return
  const from = record.actor?.home ?? ""
  const paths = news.writers.get(from) ?? new Set()
  if (paths.size < 1000) paths.add(record.path2 ?? record.path)
  news.writers.set(from, paths)
  if (news.timer) return
  news.timer = setTimeout(toast, Math.max(burstMs, news.lastToast + toastEveryMs - Date.now()))
  news.timer.unref()
}

async function toast() {
  const writers = [...news.writers]
  news.timer = null
  news.lastToast = Date.now()
  news.writers = new Map()
  const repos = await repositories()
  const message = writers
    .map(([from, paths]) => {
      const names = [...paths]
      const more = names.length > 3 ? ` and ${names.length - 3} more` : ""
      return `${repos.find((r) => r.id === from)?.name ?? "a program of no repository"}: ${names.slice(0, 3).join(", ")}${more}`
    })
    .join("; ")
  for (const { client, directory } of instances)
    client.tui
      .showToast({
        query: { directory },
        body: { title: "Written from another repository", message, variant: "info", duration: 8000 },
      })
      .catch((error) => say(`no toast: ${error.message}`))
}

// ---- the hooks ----

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
    reads.set(keyOf(input), { real, before: await look(real) })
    if (reads.size > 1000) reads.delete(reads.keys().next().value)
  }
}

async function after(input) {
  const key = keyOf(input)
  const read = reads.get(key)
  reads.delete(key)
  if (read) return keepSeen(input.sessionID, read.real, read.before)
  const call = calls.get(key)
  try {
    for (const { real } of call?.files ?? []) await keepSeen(input.sessionID, real)
  } finally {
    finish(key)
  }
}

function startOnce() {
  if (gateway) return
  // Turns of a process that is gone.
  rmSync(`${state}/turns`, { recursive: true, force: true })
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
    "tool.execute.after": (input) => after(input),
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
