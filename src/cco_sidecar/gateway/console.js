// The REST console: Swagger UI on this server's own description. The token that a user enters stays in this page.

async function start() {
  const description = await (await fetch("/openapi.json")).json();
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
