/*
 * The write turn around each tool that writes files: a child `rrm lock` for each repository, with a pipe as
 * lifeline, told to the mount in <state>/turns/<repo_id> (router/identity.h).
 */
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { base, env, lockTimeoutMs, readJson, rrm, say, state, userEnv } from "./base.js"
import { forget, look, refuseStale, same } from "./views.js"
import { locate } from "./world.js"

// Longer than any tool writes; a call whose end we never hear of must not keep others waiting for ever.
const turnBoundMs = 120000
// Says that the turn is held, and holds it until our end of the pipe is closed.
const holdTurn = 'printf "%s\\n" "$RRM_TURN_HOLDER"; read -r end'
// How long a change that the mount holds back for a tool's turn may wait before the tool gives way.
const givesWayMs = 150
const calls = new Map() // "<session> <callID>" -> call
const lines = new Map() // repo_id -> a promise: the last call of this process in line there has left

export function keyOf(input) {
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

// What the call has already: rrm finds circles by it (router/standoff.h).
function above(call) {
  const held = call.turns.filter((t) => t.holder)
  return { RRM_TURN: held.map((t) => t.target.id).join(" "), RRM_TURN_HOLDER: held.map((t) => t.holder).join(" ") }
}

// Ends by throwing rrm's sentence when somebody else has the turn for too long.
function takeTurn(target, call) {
  const child = spawn(rrm, ["lock", target.id, "--", "sh", "-c", holdTurn], {
    stdio: ["pipe", "pipe", "pipe"],
    cwd: state,
    env: { ...env, ...userEnv, ...above(call), RRM_SESSION: call.session },
  })
  const turn = { target, child, file: null, holder: "" }
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
      turn.holder = out.split(" ", 1)[0].trim()
      announce(turn, call.session, turn.holder)
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

export function finish(key) {
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
  const waits = written.some((w) => w?.waiters?.some((one) => m && one.process === m.server))
  const before = call.seenWaiting
  call.seenWaiting = waits
  if (call.over || call.asked || !waits || !before || call.turns.some((turn) => !turn.file)) return
  call.seenWaiting = false
  giveBack(call)
  takeTurnsAgain(call, async () => {
    for (const target of call.targets) await takeTurn(target, call)
  })
}

export async function beginWriting(input, paths, w) {
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
export function noticed({ type, properties: p }, here) {
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
    forget(p?.info?.id ?? p?.sessionID)
  }
}

// The real paths that the call writes.
export function filesOf(key) {
  return calls.get(key)?.files.map((file) => file.real) ?? []
}

// What a process that is gone announced.
export function forgetTurns() {
  rmSync(`${state}/turns`, { recursive: true, force: true })
}
