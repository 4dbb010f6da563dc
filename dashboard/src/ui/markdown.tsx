// Markdown as elements. The parser only makes tokens; no HTML is made of them, so nothing in a text can become markup.
import { lexer, type Token, type Tokens } from "marked";
import type { ComponentChildren } from "preact";
import { visible } from "../lib/visible.ts";

const MOST_CHARACTERS = 500_000;

// Deeper nesting, which only an attack has, would exceed the stack of the parser.
const TOO_DEEP = /^(?:[ \t]*>){20}|^[ \t]{60,}(?:[-*+]|\d+[.)]) /m;

/** The time of the parser grows with the square of the marks in a paragraph or table. */
const isDense = (block: string): boolean =>
  block.length > 1000 && (block.match(/[*_~`[]/g) ?? []).length + (block.match(/\|/g) ?? []).length / 10 > 800;

export function Markdown({ text }: { text: string }) {
  const shown = visible(text.slice(0, MOST_CHARACTERS));
  try {
    if (!TOO_DEEP.test(shown) && !shown.split(/\n\s*\n/).some(isDense))
      return <div class="markdown">{blocks(lexer(shown))}</div>;
  } catch {
    // The parser gave up.
  }
  return <pre class="text">{shown}</pre>;
}

function blocks(tokens: Token[] | undefined): ComponentChildren {
  return tokens?.map((token, index) => <Block key={index} token={token} />);
}

function Block({ token }: { token: Token }) {
  switch (token.type) {
    case "heading": {
      // Below the headings of the page.
      const Heading = `h${Math.min(6, (token as Tokens.Heading).depth + 2)}` as "h3";
      return <Heading>{inline(token.tokens)}</Heading>;
    }
    case "paragraph":
      return <p>{inline(token.tokens)}</p>;
    case "code":
      return (
        <pre class="text" tabIndex={0}>
          {token.text}
        </pre>
      );
    case "blockquote":
      return <blockquote>{blocks(token.tokens)}</blockquote>;
    case "hr":
      return <hr />;
    case "list": {
      const { ordered, start, items } = token as Tokens.List;
      const rows = items.map((item, index) => (
        <li key={index}>
          {item.task && (
            <input type="checkbox" checked={item.checked} disabled aria-label={item.checked ? "done" : "open"} />
          )}
          {blocks(item.tokens)}
        </li>
      ));
      return ordered ? <ol start={start === "" ? 1 : Number(start)}>{rows}</ol> : <ul>{rows}</ul>;
    }
    case "table": {
      const { header, rows } = token as Tokens.Table;
      return (
        <div class="scroll" tabIndex={0} role="region" aria-label="Table">
          <table>
            <thead>
              <tr>
                {header.map((cell, index) => (
                  <th key={index}>{inline(cell.tokens)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row, index) => (
                <tr key={index}>
                  {row.map((cell, column) => (
                    <td key={column}>{inline(cell.tokens)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      );
    }
    case "space":
    case "def":
      return null;
    case "text":
      return <>{token.tokens ? inline(token.tokens) : token.text}</>;
    default:
      // HTML, and whatever else there may be, is shown as it was written.
      return <p>{token.raw}</p>;
  }
}

function inline(tokens: Token[] | undefined): ComponentChildren {
  return tokens?.map((token, index) => <Inline key={index} token={token} />);
}

function Inline({ token }: { token: Token }) {
  switch (token.type) {
    case "strong":
      return <strong>{inline(token.tokens)}</strong>;
    case "em":
      return <em>{inline(token.tokens)}</em>;
    case "del":
      return <del>{inline(token.tokens)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "link": {
      const href = safeLink(token.href);
      if (!href) return <>{token.raw}</>;
      return (
        <a href={href} target="_blank" rel="noopener noreferrer nofollow" title={href}>
          {inline(token.tokens)}
        </a>
      );
    }
    case "image":
      // Foreign images are not loaded: they would tell their server that the text is read.
      return <>{`[image: ${token.text || token.href}]`}</>;
    case "escape":
      return <>{token.text}</>;
    case "text":
      return <>{token.tokens ? inline(token.tokens) : unescaped(token.text)}</>;
    default:
      return <>{token.raw}</>;
  }
}

/** Returns a web address, or null for anything else: no script, no file, no page of this server. */
export function safeLink(href: string): string | null {
  try {
    const url = new URL(href);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

const ENTITIES: Record<string, string> = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'" };
const unescaped = (text: string): string => text.replace(/&(?:amp|lt|gt|quot|#39);/g, (each) => ENTITIES[each] ?? each);
