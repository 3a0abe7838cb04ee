/** Reads the declarations of a build as a user's editor does, and says what of them has no comment or cannot be named. */
import { dirname, join } from 'node:path';
import { type Node, type SourceFile, SyntaxKind } from 'typescript/unstable/ast';
import {
  isExportDeclaration,
  isExpressionWithTypeArguments,
  isIdentifier,
  isImportDeclaration,
  isImportTypeNode,
  isNamedExports,
  isNamedImports,
  isTypeParameterDeclaration,
  isTypeQueryNode,
  isTypeReferenceNode,
  isVariableStatement,
} from 'typescript/unstable/ast/is';
import { API } from 'typescript/unstable/sync';

export interface PublicApi {
  /** Every exported name. */
  readonly names: readonly string[];
  /** Exported names, and fields and methods of them, without a comment. */
  readonly undocumented: readonly string[];
  /** Types of ours that an exported declaration mentions, and that are not exported themselves. */
  readonly unnamed: readonly string[];
}

/** A declaration, and where it stands. */
interface Found {
  readonly node: Node;
  readonly file: SourceFile;
}

const MEMBERS = new Set([
  SyntaxKind.PropertySignature,
  SyntaxKind.PropertyDeclaration,
  SyntaxKind.MethodSignature,
  SyntaxKind.MethodDeclaration,
  SyntaxKind.GetAccessor,
  SyntaxKind.SetAccessor,
  SyntaxKind.Constructor,
]);

/** `entry` is the path of a `.d.ts`; it and what it re-exports are read. */
export function publicApi(entry: string): PublicApi {
  return reading(entry, (open) => {
    const exported = new Map(exportsOf(open(entry)).map((name) => [name, find(open, entry, name)]));
    const ours = new Set([...exported.values()].map((found) => found?.node));
    const declarations = [...exported].flatMap(([name, found]) => (found ? [[name, found] as const] : []));
    return {
      names: [...exported.keys()],
      undocumented: declarations.flatMap(([name, found]) => undocumented(name, found)),
      unnamed: declarations.flatMap(([name, found]) =>
        mentions(found)
          .filter((mentioned) => !hasName(open, found, mentioned, ours))
          .map((mentioned) => `${name}: ${mentioned}`),
      ),
    };
  });
}

/** Declarations of a file, and fields and methods of them, without a comment. `entry` is the path of a `.d.ts`. */
export function undocumentedIn(entry: string): string[] {
  return reading(entry, (open) => {
    const file = open(entry);
    return file.statements.flatMap((node) => namesOf(node).flatMap((name) => undocumented(name, { node, file })));
  });
}

/** Calls back with a way to open a file and what it imports. */
function reading<Result>(entry: string, read: (open: (path: string) => SourceFile) => Result): Result {
  const api = new API({ cwd: dirname(entry) });
  try {
    const project = api.updateSnapshot({ openFiles: [entry] }).getDefaultProjectForFile(entry);
    return read((path) => {
      const file = project?.program.getSourceFile(path);
      if (!file) throw new Error(`${path} cannot be read: has the project been built?`);
      return file;
    });
  } finally {
    api.close();
  }
}

/** The names that a file exports by `export { … } from`. */
function exportsOf(file: SourceFile): string[] {
  return file.statements.flatMap((statement) => {
    if (!isExportDeclaration(statement) || !statement.exportClause || !isNamedExports(statement.exportClause)) {
      throw new Error(`${file.fileName}: it has more than re-exports by name`);
    }
    return statement.exportClause.elements.map(({ name }) => name.text);
  });
}

/** Where a name that a file exports, imports or declares is declared; `undefined` if that is in a package. Throws where it is nowhere. */
function find(open: (path: string) => SourceFile, path: string, wanted: string): Found | undefined {
  const file = open(path);
  for (const node of file.statements) if (namesOf(node).includes(wanted)) return { node, file };
  for (const statement of file.statements) {
    const specifiers =
      isExportDeclaration(statement) && statement.exportClause && isNamedExports(statement.exportClause)
        ? statement.exportClause.elements
        : isImportDeclaration(statement) &&
            statement.importClause?.namedBindings &&
            isNamedImports(statement.importClause.namedBindings)
          ? statement.importClause.namedBindings.elements
          : [];
    const specifier = [...specifiers].find(({ name }) => name.text === wanted);
    const from = (statement as { moduleSpecifier?: { text: string } }).moduleSpecifier?.text;
    if (!specifier || from === undefined) continue;
    if (!from.startsWith('.')) return undefined;
    return find(
      open,
      join(dirname(path), from.replace(/\.js$/, '.d.ts')),
      (specifier.propertyName ?? specifier.name).text,
    );
  }
  throw new Error(`${path}: ${wanted} is not declared`);
}

function namesOf(statement: Node): string[] {
  if (isVariableStatement(statement)) {
    return [...statement.declarationList.declarations].map(({ name }) => (isIdentifier(name) ? name.text : ''));
  }
  const { name } = statement as Node & { readonly name?: Node };
  return name && isIdentifier(name) ? [name.text] : [];
}

function undocumented(path: string, { node, file }: Found): string[] {
  const found = hasComment(node, file) ? [] : [path];
  const visit = (at: Node, way: string): void => {
    at.forEachChild((child) => {
      if (!MEMBERS.has(child.kind)) return visit(child, way);
      if (isPrivate(child)) return;
      const { name } = child as Node & { readonly name?: Node };
      const inner = `${way}.${name ? name.getText(file) : 'constructor'}`;
      if (!hasComment(child, file)) found.push(inner);
      visit(child, inner);
    });
  };
  visit(node, path);
  return found;
}

function hasComment(node: Node, file: SourceFile): boolean {
  const comment = node.jsDoc?.[0];
  return comment !== undefined && /\w/.test(file.text.slice(comment.pos, comment.end));
}

function isPrivate(node: Node): boolean {
  const { modifiers } = node as Node & { readonly modifiers?: readonly Node[] };
  return [...(modifiers ?? [])].some(({ kind }) => kind === SyntaxKind.PrivateKeyword);
}

/** The names of types, and of values whose types are asked for, in a declaration; not those that are its own parameters. */
function mentions({ node, file }: Found): string[] {
  const names = new Set<string>();
  const parameters = new Set<string>();
  const visit = (at: Node): void => {
    if (isTypeParameterDeclaration(at)) parameters.add(at.name.text);
    if (isTypeReferenceNode(at)) names.add(first(at.typeName, file));
    if (isTypeQueryNode(at)) names.add(first(at.exprName, file));
    if (isExpressionWithTypeArguments(at)) names.add(first(at.expression, file));
    if (isImportTypeNode(at)) names.add(at.getText(file));
    at.forEachChild(visit);
  };
  visit(node);
  return [...names].filter((name) => !parameters.has(name));
}

/** `a` of `a.b`. */
function first(name: Node, file: SourceFile): string {
  return name.getText(file).split('.')[0] as string;
}

/** Whether users can name what is mentioned: it is exported, of a package, or of the language. */
function hasName(
  open: (path: string) => SourceFile,
  { file }: Found,
  mentioned: string,
  ours: ReadonlySet<Node | undefined>,
): boolean {
  if (mentioned.startsWith('import(')) return false;
  const isKnown = file.statements.some(
    (statement) => namesOf(statement).includes(mentioned) || imports(statement, mentioned),
  );
  if (!isKnown) return true;
  const found = find(open, file.fileName, mentioned);
  return found === undefined || ours.has(found.node);
}

function imports(statement: Node, wanted: string): boolean {
  if (!isImportDeclaration(statement)) return false;
  const bindings = statement.importClause?.namedBindings;
  return (
    bindings !== undefined &&
    isNamedImports(bindings) &&
    [...bindings.elements].some(({ name }) => name.text === wanted)
  );
}
