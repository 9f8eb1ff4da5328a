/** Requests to the server's API. */

export const BASE = "/api/v1";

/** A refusal, in one line; `status` is 0 where the server can't be reached. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers } };
  if (body instanceof Blob) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(BASE + path, options);
  } catch {
    throw new ApiError("The server can't be reached.", 0);
  }
  if (response.status === 204) return null;
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new ApiError(`The server's answer can't be read (status ${response.status}).`, response.status);
  }
  if (!response.ok) throw new ApiError(answer.error || `Status ${response.status}`, response.status);
  return answer;
}

export const get = (path) => request("GET", path);
export const post = (path, body) => request("POST", path, body);
export const put = (path, body) => request("PUT", path, body);
export const patch = (path, body, headers) => request("PATCH", path, body, headers);
export const remove = (path) => request("DELETE", path);

/** Encode parameters of an address. */
export const query = (values) => new URLSearchParams(values).toString();
