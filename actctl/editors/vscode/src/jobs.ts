// The tree of jobs: grouped by how they stand, the newest first.
import * as vscode from 'vscode';

/** A job as the language server tells of it. */
export interface Job {
  key: string;
  id: number | null;
  name: string | null;
  standing: Standing;
  batch: string | null;
  description: string | null;
  results: string | null;
  error: string | null;
  closed: boolean;
}

export type Standing = 'submitting' | 'queued' | 'running' | 'done' | 'failed' | 'killed' | 'lost';

/** The answer to `actd/jobs`. */
export interface View {
  connected: boolean;
  counts: Record<Standing, number>;
  items: Job[];
  groups: string[];
  proxy: { state: string; message: string; expires: string | null; hint: string | null } | null;
}

const GROUPS: [Standing, string, string][] = [
  ['running', 'Running', 'sync'],
  ['failed', 'Failed', 'error'],
  ['submitting', 'Being submitted', 'cloud-upload'],
  ['queued', 'Queued', 'clock'],
  ['done', 'Done', 'pass'],
  ['killed', 'Killed', 'circle-slash'],
  ['lost', 'Lost', 'question'],
];

const COLOURS: Partial<Record<Standing, string>> = { failed: 'errorForeground', done: 'testing.iconPassed', running: 'charts.blue' };

export class Group {
  constructor(readonly standing: Standing, readonly title: string, readonly icon: string, readonly jobs: Job[]) {}
}

export class JobTree implements vscode.TreeDataProvider<Group | Job> {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changed.event;
  private groups: Group[] = [];

  show(view: View): void {
    this.groups = GROUPS.map(([standing, title, icon]) => new Group(standing, title, icon, view.items.filter((j) => j.standing === standing)))
      .filter((g) => g.jobs.length > 0);
    this.changed.fire();
  }

  getChildren(of?: Group | Job): (Group | Job)[] {
    if (!of) return this.groups;
    return of instanceof Group ? of.jobs : [];
  }

  getTreeItem(of: Group | Job): vscode.TreeItem {
    if (of instanceof Group) {
      const item = new vscode.TreeItem(of.title, vscode.TreeItemCollapsibleState.Expanded);
      item.id = of.standing;
      item.description = String(of.jobs.length);
      item.iconPath = icon(of.icon, of.standing);
      return item;
    }
    const item = new vscode.TreeItem(of.name || of.key);
    item.id = `${of.standing} ${of.key}`;
    item.description = [of.id ?? of.key, of.closed ? 'finished with' : '', of.error ?? ''].filter((s) => s !== '').join(' · ');
    const [, , name] = GROUPS.find(([s]) => s === of.standing) ?? GROUPS[0];
    item.iconPath = icon(name, of.standing);
    item.tooltip = [of.name, of.description, of.batch && `batch ${of.batch}`, of.error, of.results].filter(Boolean).join('\n');
    const going = ['submitting', 'queued', 'running'].includes(of.standing);
    const collectable = !of.closed && ['done', 'failed'].includes(of.standing);
    item.contextValue = ['job', going && 'going', of.results && 'results', collectable && 'collectable'].filter(Boolean).join(' ');
    if (of.results) item.command = { command: 'actd.job.results', title: 'Open results', arguments: [of] };
    return item;
  }
}

function icon(name: string, standing: Standing): vscode.ThemeIcon {
  const colour = COLOURS[standing];
  return new vscode.ThemeIcon(name, colour ? new vscode.ThemeColor(colour) : undefined);
}
