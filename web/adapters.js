export async function render(root) { root.append("soon"); }
