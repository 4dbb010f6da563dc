// The REST console: Swagger UI on this server's own description. The token that a user enters stays in this page.

async function start() {
  const description = await (await fetch("/openapi.json")).json();
  // The page may have been opened under another name of this machine.
  description.servers = [{ url: window.location.origin }];
  window.SwaggerUIBundle({
    spec: description,
    dom_id: "#console",
    deepLinking: true,
    docExpansion: "none",
    filter: true,
    tryItOutEnabled: true,
    validatorUrl: null,
  });
}

start();
