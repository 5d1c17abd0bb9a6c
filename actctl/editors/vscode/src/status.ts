// The status bar: how many jobs are running, done, failed, and for how long the proxy lasts.
import * as vscode from 'vscode';
import type { View } from './jobs';

/** Below this the proxy is worth a warning, in milliseconds. */
const SOON = 3_600_000;

export class Status {
  private readonly item = vscode.window.createStatusBarItem('actd.status', vscode.StatusBarAlignment.Left, 0);
  private view?: View;

  constructor() {
    this.item.name = 'Grid jobs';
    this.item.command = 'actd.jobs.focus';
  }

  show(view: View): void {
    this.view = view;
    this.render();
  }

  /** Time passes. */
  render(): void {
    const view = this.view;
    if (!view) return;
    const { running, done, failed } = view.counts;
    const left = view.proxy?.expires ? Date.parse(view.proxy.expires) - Date.now() : undefined;
    const proxy = left === undefined ? 'no proxy' : left <= 0 ? 'proxy expired' : `proxy ${spell(left)}`;
    this.item.text = view.connected ? `$(server-process) ${running} running, ${done} done, ${failed} failed · ${proxy}` : '$(debug-disconnect) actd';
    const bad = view.connected && (view.proxy?.state !== 'ok' || left === undefined || left < SOON);
    this.item.backgroundColor = bad ? new vscode.ThemeColor('statusBarItem.warningBackground') : undefined;
    this.item.tooltip = view.connected
      ? [view.proxy?.message, view.proxy?.hint].filter(Boolean).join('\n')
      : 'actd does not run; it is started when you submit a job';
    this.item.show();
  }

  dispose(): void {
    this.item.dispose();
  }
}

function spell(left: number): string {
  const minutes = Math.floor(left / 60_000);
  return minutes >= 2_880 ? `${Math.floor(minutes / 1_440)} d` : minutes >= 120 ? `${Math.floor(minutes / 60)} h` : `${minutes} min`;
}
