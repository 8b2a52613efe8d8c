/* What the parts of the plugin share: who we are, from the environment (see rrm.js). */
import { readFile } from "node:fs/promises"
import { dirname, sep } from "node:path"

export const env = process.env
export const rrm = env.RRM_PROGRAM
export const root = env.RRM_ROOT
export const state = env.RRM_STATE
export const place = env.RRM_DIRECTORY
export const repo = env.RRM_REPO_ID
export const base = dirname(dirname(state)) // the state base
export const lockTimeoutMs = Number(env.RRM_LOCK_TIMEOUT_MS) || 30000

export function say(text) {
  process.stderr.write(`rrm.js: ${text}\n`)
}

// What the isolated backend has otherwise than its user.
export const userEnv = {}
try {
  Object.assign(userEnv, JSON.parse(env.RRM_USER_ENV || "{}"))
} catch {
  say("RRM_USER_ENV is damaged; children of tools keep the backend's directories")
}

export async function readJson(path) {
  try {
    return JSON.parse(await readFile(path, "utf8"))
  } catch {
    return null
  }
}

export function inside(path, top) {
  return path === top || path.startsWith(top + sep)
}
