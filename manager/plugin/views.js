/*
 * What each session has seen of each file, so that what somebody else changed since is not written over.
 */
import { createHash } from "node:crypto"
import { open, stat } from "node:fs/promises"
import { relative } from "node:path"
import { base, repo } from "./base.js"

const hashMaxBytes = 32 << 20
const viewMaxFiles = 4000
const views = new Map() // session -> Map of real path -> {size, mtimeNs, ino, sha256, at}

export async function look(real) {
  const st = await stat(real, { bigint: true }).catch(() => null)
  return st?.isFile() ? { size: st.size, mtimeNs: st.mtimeNs, ino: st.ino, at: Date.now() } : null
}

export function same(a, b) {
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
export async function keepSeen(session, real, before) {
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
export async function refuseStale(session, { real, owner }, { repos }) {
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

export function forget(session) {
  views.delete(session)
}
