/**
 * Text that somebody else chose a part of (a file name, an id, an answer), made safe to show, log or store.
 *
 * `printable` keeps it from controlling a terminal, ending its line or changing the reading direction, and loses nothing of it.
 * `withoutPasswords` removes the secrets from addresses.
 */

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const control = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** The text on one line: control characters, line ends and changes of direction as `\u001b`, lone surrogates as U+FFFD. */
export const printable = (text: string): string =>
  text.toWellFormed().replace(control, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** The scheme, the user and whatever follows a colon, which is a port or has a password before its last `@`. */
const authority = /([a-z][a-z0-9+.-]{0,20}:\/\/[^\s:@/?#[\]"]*):(\S+)/gi
const setting = /((?:password|passwd|secret|token|credential|signature)[\w-]{0,20}=)('[^']*'|[^\s&"]+)/gi

/**
 * `postgresql://usage:***@host/database?password=***`, even where such an address is malformed or in the middle of a text.
 * The word `password` itself is an example.
 */
export const withoutPasswords = (text: string): string =>
  text
    .replace(authority, (all, before: string, rest: string) => {
      const end = rest.lastIndexOf("@")
      if (end !== -1) return rest.startsWith("password@") ? all : `${before}:***${rest.slice(end)}`
      return /^\d{1,5}(?=$|[^\w%])/.test(rest) ? all : `${before}:***`
    })
    .replace(setting, "$1***")
