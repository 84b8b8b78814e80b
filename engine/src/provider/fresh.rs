//! Whom the files hold that commits have just written.
//!
//! Each covers everybody by its bounds, and there may be dozens: opening them all would be most of what a trace costs.
//! Which subjects each holds is read from it once, and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::AsArray;
use datafusion::error::Result;
use futures::TryStreamExt;
use object_store::ObjectStore;

use crate::file;
use crate::lake::{LakeFile, Table};

/// What is kept of all files together, in bytes; beyond, those that are not asked for go first.
const MOST: usize = 48 << 20;
const ROWS: usize = 8192;

/// What is known of fresh files, by path. Files never change.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    files: Mutex<HashMap<String, Arc<Subjects>>>,
}

/// The subjects of one file: a hash of each, in order. One that is not there is not in the file.
#[derive(Debug)]
pub(crate) struct Subjects(Vec<u32>);

impl Subjects {
    pub(crate) fn may_hold(&self, subject: &str) -> bool {
        self.0.binary_search(&hash(subject)).is_ok()
    }
}

impl Fresh {
    /// The subjects of a fresh file.
    pub(crate) async fn subjects(
        &self,
        store: &Arc<dyn ObjectStore>,
        of: &LakeFile,
        live: &[Arc<LakeFile>],
    ) -> Result<Arc<Subjects>> {
        if let Some(known) = self.files().get(&of.path) {
            return Ok(Arc::clone(known));
        }
        let schema = Table::AccessEvents.file_schema();
        let mut batches =
            file::batches(Arc::clone(store), &of.path, of.size, schema, Some(&["subject_id"]), ROWS).await?;
        let mut subjects = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            let column = batch.column(0).as_string::<i32>();
            subjects.extend(column.iter().flatten().map(hash));
            // Rows are in order of subjects: what is the same stands together.
            subjects.dedup();
        }
        subjects.sort_unstable();
        subjects.dedup();
        subjects.shrink_to_fit();
        let subjects = Arc::new(Subjects(subjects));
        let mut files = self.files();
        files.insert(of.path.clone(), Arc::clone(&subjects));
        let held =
            |files: &HashMap<String, Arc<Subjects>>| files.values().map(|s| s.0.len() * 4).sum::<usize>();
        if held(&files) > MOST {
            let live: std::collections::HashSet<&str> = live.iter().map(|file| file.path.as_str()).collect();
            files.retain(|path, _| live.contains(path.as_str()));
            if held(&files) > MOST {
                files.clear();
            }
        }
        Ok(subjects)
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Subjects>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// FNV-1a, folded.
fn hash(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as u32
}
